//! Files that pages load, from within the binary. A name holds the digest of its contents, so that a browser may
//! keep it for a year; `asset('admin.css')` in a template writes it. A debug build with `LIVE_RELOAD` set reads
//! them anew from disk.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, LazyLock, OnceLock};

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};

use super::failure::Failure;

#[derive(rust_embed::RustEmbed)]
#[folder = "templates/assets/"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "vendor/*.br"]
#[include = "vendor/*.woff2"]
#[exclude = "docs/*"]
#[exclude = "icons/*"]
struct Files;

/// How hard own files are compressed, of 11; those that are large come compressed at the best setting.
const QUALITY: u32 = 9;

/// A file as it is served.
struct Asset {
    name: String,
    kind: &'static str,
    raw: Bytes,
    /// For a font, which is compressed by itself, there is none.
    brotli: Option<OnceLock<Bytes>>,
    gzip: OnceLock<Bytes>,
}

/// Every file by its plain name and by the one with the digest.
struct Assets {
    by_plain_name: HashMap<String, Arc<Asset>>,
    by_name: HashMap<String, Arc<Asset>>,
}

/// Whether templates and files are read from disk each time.
pub(super) fn is_live() -> bool {
    static IS_LIVE: LazyLock<bool> =
        LazyLock::new(|| cfg!(debug_assertions) && std::env::var_os("LIVE_RELOAD").is_some());
    *IS_LIVE
}

fn all() -> Arc<Assets> {
    static KEPT: LazyLock<Arc<Assets>> = LazyLock::new(|| Arc::new(Assets::load()));
    if is_live() { Arc::new(Assets::load()) } else { Arc::clone(&KEPT) }
}

impl Assets {
    fn load() -> Assets {
        let mut files: Vec<(String, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for path in Files::iter() {
            let Some(file) = Files::get(&path) else { continue };
            let name = path.rsplit('/').next().unwrap_or(&path);
            match name.strip_suffix(".br") {
                Some(name) => {
                    files.push((name.to_owned(), unpacked(&file.data), Some(file.data.into_owned())))
                }
                None => files.push((name.to_owned(), file.data.into_owned(), None)),
            }
        }
        // Fonts first: a style sheet names them, and its own digest depends on that.
        files.sort_by_key(|(name, _, _)| (!name.ends_with(".woff2"), name.clone()));
        let mut assets = Assets { by_plain_name: HashMap::new(), by_name: HashMap::new() };
        for (plain, raw, packed) in files {
            let raw = if plain == "admin.css" { assets.with_names(raw) } else { raw };
            let asset = Arc::new(Asset::new(&plain, raw, packed));
            assets.by_name.insert(asset.name.clone(), Arc::clone(&asset));
            assets.by_plain_name.insert(plain, asset);
        }
        assets
    }

    /// A style sheet with the names of the fonts as they are served.
    fn with_names(&self, raw: Vec<u8>) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(&raw).into_owned();
        for (plain, asset) in self.by_plain_name.iter().filter(|(plain, _)| plain.ends_with(".woff2")) {
            text = text.replace(plain.as_str(), &asset.name);
        }
        text.into_bytes()
    }
}

impl Asset {
    fn new(plain: &str, raw: Vec<u8>, packed: Option<Vec<u8>>) -> Asset {
        let digest: String = Sha256::digest(&raw).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let (stem, extension) = plain.rsplit_once('.').unwrap_or((plain, ""));
        let kind = match extension {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "woff2" => "font/woff2",
            _ => "application/octet-stream",
        };
        let brotli = (extension != "woff2").then(|| match packed {
            Some(packed) => OnceLock::from(Bytes::from(packed)),
            None => OnceLock::new(),
        });
        let name = format!("{stem}.{digest}.{extension}");
        Asset { name, kind, raw: raw.into(), brotli, gzip: OnceLock::new() }
    }

    /// The contents in an encoding that the caller takes.
    fn encoded(&self, headers: &HeaderMap) -> (Option<&'static str>, Bytes) {
        let Some(brotli) = &self.brotli else {
            return (None, self.raw.clone());
        };
        let accepted =
            headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
        let takes = |wanted: &str| {
            accepted.split(',').any(|part| {
                let (coding, weight) = part.split_once(';').unwrap_or((part, ""));
                coding.trim().eq_ignore_ascii_case(wanted) && !matches!(weight.trim(), "q=0" | "q=0.0")
            })
        };
        if takes("br") {
            (Some("br"), brotli.get_or_init(|| packed(&self.raw)).clone())
        } else if takes("gzip") {
            (Some("gzip"), self.gzip.get_or_init(|| gzipped(&self.raw)).clone())
        } else {
            (None, self.raw.clone())
        }
    }
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    brotli::Decompressor::new(packed, 4_096).read_to_end(&mut raw).expect("a test unpacks every file");
    raw
}

fn packed(raw: &[u8]) -> Bytes {
    let mut packed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut packed, 4_096, QUALITY, 22);
    writer.write_all(raw).expect("memory takes every write");
    drop(writer);
    packed.into()
}

fn gzipped(raw: &[u8]) -> Bytes {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(raw).expect("memory takes every write");
    writer.finish().expect("memory takes every write").into()
}

/// The address of a file, by its plain name. `None`: there is no such file.
pub(super) fn address(plain: &str) -> Option<String> {
    all().by_plain_name.get(plain).map(|asset| format!("/admin/assets/{}", asset.name))
}

/// Serves a file; its name says which contents, so it is good for ever.
pub(super) async fn show(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, Failure> {
    let found = all().by_name.get(name.as_str()).cloned();
    let asset = found.ok_or_else(|| Failure::not_found("There is no such file."))?;
    let (coding, body) = asset.encoded(request.headers());
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::VARY, HeaderValue::from_static("Accept-Encoding")))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(coding) = coding {
        answer.insert_header((header::CONTENT_ENCODING, coding));
    }
    Ok(answer.content_type(asset.kind).body(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_contents_and_the_style_names_the_font_as_it_is_served() {
        let assets = Assets::load();
        for name in
            ["admin.css", "theme.js", "plots.js", "tabler.min.css", "htmx.min.js", "uPlot.iife.min.js"]
        {
            assert!(assets.by_plain_name[name].raw.len() > 500, "{name}");
        }
        let font = &assets.by_plain_name["inter-latin-wght-normal.woff2"].name;
        let style = String::from_utf8(assets.by_plain_name["admin.css"].raw.to_vec()).unwrap();
        assert!(style.contains(&format!("url(\"{font}\")")));
    }

    #[test]
    fn every_file_comes_back_whole_in_every_encoding() {
        let assets = Assets::load();
        let asset = &assets.by_plain_name["admin.css"];
        for (accepted, coding) in
            [("gzip, deflate, br", Some("br")), ("gzip;q=1.0", Some("gzip")), ("br;q=0", None), ("", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            let (found, body) = asset.encoded(&headers);
            assert_eq!(found, coding, "{accepted}");
            let raw = match found {
                Some("br") => unpacked(&body),
                Some(_) => {
                    let mut raw = Vec::new();
                    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut raw).unwrap();
                    raw
                }
                None => body.to_vec(),
            };
            assert!(raw == asset.raw, "{accepted}");
        }
    }
}
