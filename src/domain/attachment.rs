//! What people attach to messages: how it is called, and what a browser may show of it. Strangers choose the content,
//! so only pictures of a few kinds that hold no script are shown; everything else is a file to save.

/// What an attachment is, by its MIME type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A picture.
    Photo,
    /// A voice message, music.
    Sound,
    /// A film.
    Video,
    /// A visiting card.
    Contact,
    /// Anything else.
    File,
}

impl Sort {
    /// By MIME type, whatever its parameters and case.
    pub fn of(content_type: &str) -> Sort {
        let name = essence(content_type);
        match name.split('/').next().unwrap_or_default() {
            "image" => Sort::Photo,
            "audio" => Sort::Sound,
            "video" => Sort::Video,
            "text" if matches!(name.as_str(), "text/vcard" | "text/x-vcard" | "text/directory") => {
                Sort::Contact
            }
            _ => Sort::File,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Photo => "Photo",
            Sort::Sound => "Sound",
            Sort::Video => "Video",
            Sort::Contact => "Contact",
            Sort::File => "File",
        }
    }
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The type under which a browser may show it: pictures that hold no script. SVG holds some.
pub fn shown_as(content_type: &str) -> Option<&'static str> {
    match essence(content_type).as_str() {
        "image/jpeg" | "image/jpg" => Some("image/jpeg"),
        "image/png" => Some("image/png"),
        "image/gif" => Some("image/gif"),
        "image/webp" => Some("image/webp"),
        _ => None,
    }
}

/// The end of the name under which it is saved. Never one that runs by a double click.
pub fn extension(content_type: &str) -> &'static str {
    match essence(content_type).as_str() {
        "image/jpeg" | "image/jpg" => "jpg",
        "image/png" => "png",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "audio/ogg" => "ogg",
        "audio/mpeg" => "mp3",
        "audio/mp4" | "audio/aac" => "m4a",
        "audio/amr" => "amr",
        "video/mp4" => "mp4",
        "video/3gpp" => "3gp",
        "application/pdf" => "pdf",
        "text/vcard" | "text/x-vcard" | "text/directory" => "vcf",
        "text/plain" => "txt",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_without_script_are_shown_whatever_the_type_pretends() {
        for (given, sort, shown, end) in [
            ("image/jpeg", Sort::Photo, Some("image/jpeg"), "jpg"),
            (" IMAGE/PNG ; x=1", Sort::Photo, Some("image/png"), "png"),
            ("image/svg+xml", Sort::Photo, None, "bin"),
            ("text/html", Sort::File, None, "bin"),
            ("image/png\r\nX: y", Sort::Photo, None, "bin"),
            ("application/xhtml+xml", Sort::File, None, "bin"),
            ("audio/ogg; codecs=opus", Sort::Sound, None, "ogg"),
            ("video/mp4", Sort::Video, None, "mp4"),
            ("text/vcard", Sort::Contact, None, "vcf"),
            ("application/x-msdownload", Sort::File, None, "bin"),
            ("", Sort::File, None, "bin"),
        ] {
            assert_eq!(Sort::of(given), sort, "{given:?}");
            assert_eq!(shown_as(given), shown, "{given:?}");
            assert_eq!(extension(given), end, "{given:?}");
        }
    }
}
