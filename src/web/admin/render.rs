//! Templates into HTML. They are part of the binary; a debug build with `LIVE_RELOAD` set reads them from disk at
//! each page. Everything is escaped; icons come as one hidden sprite of those that a page used.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use super::{assets, form, format, words};

#[derive(rust_embed::RustEmbed)]
#[folder = "templates/admin/"]
struct Templates;

#[derive(rust_embed::RustEmbed)]
#[folder = "templates/assets/icons/"]
#[include = "*.svg"]
struct Icons;

/// Where the layout wants the sprite.
const SPRITE: &str = "<!--icons-->";
const USE: &str = "href=\"#i-";

/// Renders a template; `page` is seen by it and by all that it imports.
///
/// # Errors
/// A defect of the template.
pub(super) fn render(name: &str, page: Value, values: Value) -> Result<String, Error> {
    let mut pages = if assets::is_live() { environment() } else { PAGES.clone() };
    pages.add_global("page", page);
    let html = pages.get_template(name)?.render(values)?;
    Ok(match html.rfind(SPRITE) {
        Some(at) => {
            let sprite = sprite(&html);
            let mut whole = html;
            whole.replace_range(at..at + SPRITE.len(), &sprite);
            whole
        }
        None => html,
    })
}

/// What can be serialised, for a template: a row of the store, or JSON that the API would answer.
pub(super) fn values(data: impl serde::Serialize) -> Value {
    Value::from(Serde(data))
}

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    // What is not there shows nothing, rather than the word for it.
    pages.set_formatter(|out, state, value| {
        if value.is_none() { Ok(()) } else { minijinja::escape_formatter(out, state, value) }
    });
    pages.set_undefined_behavior(UndefinedBehavior::Chainable);
    pages.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("no delimiter is changed"),
    );
    for path in Templates::iter() {
        if let Some(file) = Templates::get(&path) {
            let source = String::from_utf8_lossy(&file.data).into_owned();
            if let Err(error) = pages.add_template_owned(path.to_string(), source) {
                tracing::error!(template = %path, error = format!("{error:#}"), "a template can't be read");
            }
        }
    }
    pages.add_function("asset", asset);
    pages.add_function("icon", icon);
    pages.add_function("once", form::new_once);
    words::add_to(&mut pages);
    format::add_to(&mut pages);
    pages
}

/// `asset('admin.css')`: the address of a file.
fn asset(name: &str) -> Result<Value, Error> {
    let address = assets::address(name);
    let address =
        address.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("no asset {name}")))?;
    Ok(Value::from_safe_string(address))
}

/// What stands between the tags of an icon's file.
fn drawing(name: &str) -> Option<String> {
    let file = Icons::get(&format!("{name}.svg"))?;
    let text = String::from_utf8_lossy(&file.data).into_owned();
    let inner = text.split_once('>')?.1.rsplit_once("</svg>")?.0;
    Some(inner.lines().map(str::trim).filter(|line| !line.contains("M0 0h24v24H0z")).collect())
}

const FRAME: &str = "viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" \
stroke-linecap=\"round\" stroke-linejoin=\"round\"";

/// `icon('send')`: a drawing that says nothing to who listens. In a whole page it refers to the sprite, in a part,
/// which may come into a page without it, it stands there itself. `class` adds classes.
fn icon(state: &State<'_, '_>, name: &str, kwargs: Kwargs) -> Result<Value, Error> {
    let class: Option<String> = kwargs.get("class")?;
    kwargs.assert_all_used()?;
    let drawing = drawing(name).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, format!("no icon {name} in templates/assets/icons"))
    })?;
    let class = class.map(|class| format!(" {class}")).unwrap_or_default();
    let is_part =
        state.lookup("page").and_then(|page| page.get_attr("is_part").ok()).is_some_and(|v| v.is_true());
    Ok(Value::from_safe_string(if is_part {
        format!("<svg class=\"icon{class}\" aria-hidden=\"true\" {FRAME}>{drawing}</svg>")
    } else {
        format!("<svg class=\"icon{class}\" aria-hidden=\"true\"><use href=\"#i-{name}\"/></svg>")
    }))
}

/// The icons that a page refers to. What strangers wrote is escaped, so no quote of theirs looks like a reference.
fn sprite(html: &str) -> String {
    let names: BTreeSet<&str> =
        html.split(USE).skip(1).filter_map(|rest| rest.split_once('"')).map(|(name, _)| name).collect();
    let mut sprite = String::from("<svg hidden xmlns=\"http://www.w3.org/2000/svg\">");
    for name in names {
        if let Some(drawing) = drawing(name) {
            sprite.push_str(&format!("<symbol id=\"i-{name}\" {FRAME}>{drawing}</symbol>"));
        }
    }
    sprite.push_str("</svg>");
    sprite
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn every_template_can_be_read() {
        let pages = environment();
        for path in Templates::iter() {
            pages.get_template(&path).unwrap_or_else(|error| panic!("{path}: {error:#}"));
        }
    }

    #[test]
    fn no_template_holds_what_the_policy_refuses() {
        for path in Templates::iter() {
            let text = String::from_utf8(Templates::get(&path).unwrap().data.into_owned()).unwrap();
            let bare = text.replace(char::is_whitespace, " ");
            for refused in
                ["hx-on", "hx-vals='js:", "hx-vals=\"js:", " style=", "javascript:", "<style", "onclick="]
            {
                assert!(!bare.contains(refused), "{path} holds {refused}");
            }
            for script in bare.split("<script").skip(1) {
                assert!(script.starts_with(" src="), "{path} holds an inline script");
            }
            assert!(!bare.contains("|safe"), "{path} leaves something unescaped");
        }
    }

    /// What scrolls by itself has to be reached by the keyboard, and be told apart by who can't see it.
    #[test]
    fn what_scrolls_by_itself_takes_the_focus_and_has_a_name() {
        for path in Templates::iter() {
            let text = String::from_utf8(Templates::get(&path).unwrap().data.into_owned()).unwrap();
            for rest in text.split("class=\"scroll\"").skip(1) {
                let tag = rest.split('>').next().unwrap();
                assert!(tag.contains("tabindex=\"0\"") && tag.contains("aria-label="), "{path}:{tag}");
            }
        }
    }

    #[test]
    fn a_part_brings_its_drawings_and_a_page_one_sprite() {
        let mut pages = environment();
        pages.add_template("t", "{{ icon('send') }}{{ text }}<!--icons-->").unwrap();
        for is_part in [true, false] {
            pages.add_global("page", context! { is_part });
            let html =
                pages.get_template("t").unwrap().render(context! { text => "href=\"#i-ban\"" }).unwrap();
            assert_eq!(html.contains("<path"), is_part, "{html}");
            let sprite = sprite(&html);
            assert_eq!(sprite.contains("i-send"), !is_part, "{sprite}");
            assert!(!sprite.contains("i-ban"), "{sprite}");
        }
    }
}
