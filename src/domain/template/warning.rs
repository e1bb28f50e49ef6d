//! What a template may say but probably should not.

/// Words that a person may not be asked for as a business answer, because Twilio or we act on them.
const STOP_WORDS: [&str; 8] = ["stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"];

/// Words that ask for an answer.
const INVITATIONS: [&str; 9] = ["reply", "text", "txt", "send", "answer", "respond", "type", "write", "say"];

/// Small words that may stand between the invitation and the keyword.
const BETWEEN: [&str; 10] = ["with", "back", "the", "word", "just", "us", "by", "in", "please", "either"];

/// What follows the keyword in the opt-out line that each marketing text should have.
const OPT_OUT: [&str; 9] =
    ["unsubscribe", "opt", "optout", "stop", "cancel", "end", "quit", "leave", "resubscribe"];

/// What the opt-out line may speak of; anything else behind `cancel` or `end` is business.
const OPT_OUT_OBJECTS: [&str; 24] = [
    "out",
    "of",
    "from",
    "these",
    "this",
    "our",
    "all",
    "any",
    "further",
    "future",
    "receiving",
    "getting",
    "message",
    "messages",
    "msgs",
    "texts",
    "text",
    "texting",
    "sms",
    "alerts",
    "offers",
    "list",
    "updates",
    "marketing",
];

/// Warnings in words for the author of a template; an empty list is the normal case.
///
/// Two things are told: a text that invites STOP, END, QUIT, CANCEL or YES as a business answer
/// ("Reply YES to confirm"), which would change consent or be swallowed, and `{{name}}`, which
/// prints the braces. "Reply STOP to opt out" is the normal opt-out line and gets none. English
/// wording only.
pub fn warnings(body: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(name) = doubled_braces(body) {
        warnings.push(format!(
            "`{{{{{name}}}}}` prints {{{name}}} as it stands; write `{{{name}}}` for the variable"
        ));
    }
    let mut told: Vec<String> = Vec::new();
    for sentence in body.split(['.', '!', '?', ';', '\n']) {
        for keyword in invited_keywords(sentence) {
            if !told.contains(&keyword) {
                told.push(keyword);
            }
        }
    }
    warnings.extend(told.into_iter().map(|keyword| {
        if keyword == "YES" {
            "Asks for YES: providers read it as an opt-in keyword. Ask for another word, such as \
             CONFIRM"
                .to_owned()
        } else {
            format!(
                "Asks for {keyword} as an answer: it stops all messages to the person. Ask for \
                 another word"
            )
        }
    }));
    warnings
}

/// The name in the first `{{name}}`, as other template languages write a variable.
fn doubled_braces(body: &str) -> Option<&str> {
    body.split("{{").skip(1).find_map(|rest| {
        let (inside, _) = rest.split_once("}}")?;
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
        let name = inside.trim();
        (!name.is_empty() && name.chars().all(is_name)).then_some(name)
    })
}

fn invited_keywords(sentence: &str) -> Vec<String> {
    let words: Vec<&str> =
        sentence.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let is_shouting = words.iter().all(|word| *word == word.to_uppercase());
    let mut found = Vec::new();
    let mut invitation: Option<usize> = None;
    for (index, (word, original)) in lower.iter().zip(&words).enumerate() {
        if is_keyword(word) {
            let rest = lower.get(index + 1..).unwrap_or_default();
            let is_direct = invitation.is_some_and(|at| {
                lower.get(at + 1..index).is_some_and(|words| words.iter().all(|word| is_filler(word)))
            });
            let is_written_large = !is_shouting && *original == original.to_uppercase();
            let is_invited = is_direct || (invitation.is_some() && is_written_large);
            if is_invited && !is_opt_out_line(word, rest) {
                found.push(word.to_uppercase());
            }
        } else if INVITATIONS.contains(&word.as_str()) {
            invitation = Some(index);
        }
    }
    found
}

fn is_keyword(word: &str) -> bool {
    word == "yes" || STOP_WORDS.contains(&word)
}

fn is_filler(word: &str) -> bool {
    BETWEEN.contains(&word) || is_keyword(word) || matches!(word, "or" | "and" | "no")
}

/// Whether what follows a keyword makes it the opt-out line: nothing, or `to unsubscribe`, `to opt
/// out`, `to end messages`; other keywords in between (`STOP, END or QUIT to …`) don't matter.
fn is_opt_out_line(keyword: &str, rest: &[String]) -> bool {
    let mut rest = rest
        .iter()
        .map(String::as_str)
        .skip_while(|word| is_keyword(word) || matches!(*word, "or" | "and"))
        .skip_while(|word| matches!(*word, "anytime" | "now" | "at" | "any" | "time"))
        .peekable();
    if keyword == "yes" {
        return rest.any(|word| word == "resubscribe");
    }
    match rest.next() {
        None => true,
        Some("to" | "2") => match rest.next() {
            Some("unsubscribe" | "resubscribe" | "optout" | "opt") => true,
            Some(word) if OPT_OUT.contains(&word) => {
                rest.next().is_none_or(|object| OPT_OUT_OBJECTS.contains(&object))
            }
            _ => false,
        },
        _ => false,
    }
}
