//! Keywords: what a person asks for with a message.
//!
//! A keyword counts when it is the whole message, whatever its case, accents and punctuation. A
//! longer text is never acted on by itself, but one that smells of revocation is put before an
//! operator, because the FCC lets people revoke "by any reasonable means" (47 CFR 64.1200(a)(10)).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::normal::Normal;

/// Words of the rule and of Twilio's defaults: an edited table can add to them, not lose them.
const ALWAYS_STOP: [&str; 8] =
    ["stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"];

/// Most words of a keyword before the name of a topic, as in `opt out news`.
const LONGEST_PREFIX: usize = 3;

/// Up to so many words a text with a stop keyword anywhere (`cancel please`) is for review.
const SHORT_TEXT: usize = 2;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// No more messages at all.
    Stop,
    /// Opt in, from any state.
    Start,
    /// Opt in out of `stop`; a plain message otherwise.
    Yes,
    /// The help text, please.
    Help,
    /// Opt in to the topic of this name.
    Subscribe(String),
    /// Opt out of the topic of this name.
    Unsubscribe(String),
    /// May be a revocation: hold marketing until an operator has decided.
    Review,
    /// Anything else.
    Plain,
}

/// A text that was read without knowing the topics: what it asks for if one of its words is a topic, and if
/// none is.
#[derive(Clone, Debug)]
pub struct Said {
    requests: Vec<TopicRequest>,
    otherwise: Intent,
}

#[derive(Clone, Debug)]
struct TopicRequest {
    leaves: bool,
    name: String,
}

impl Said {
    /// True when the names of the topics matter.
    pub fn may_name_a_topic(&self) -> bool {
        !self.requests.is_empty()
    }

    /// What is asked for, given the names of the known topics.
    pub fn intent(self, topics: &[impl AsRef<str>]) -> Intent {
        let named = |name: &str| {
            let is_it = |topic: &&str| Normal::of(topic).key().is_some_and(|key| key == name);
            topics.iter().map(AsRef::as_ref).find(is_it).map(str::to_owned)
        };
        let request = self.requests.iter().find_map(|request| {
            let topic = named(&request.name)?;
            Some(if request.leaves { Intent::Unsubscribe(topic) } else { Intent::Subscribe(topic) })
        });
        request.unwrap_or(self.otherwise)
    }
}

/// The editable table as it is stored: words and phrases by what they ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeywordLists {
    /// Whole messages that mean [`Intent::Stop`], besides the words that always do.
    pub stop: Vec<String>,
    /// Whole messages that mean [`Intent::Start`].
    pub start: Vec<String>,
    /// Whole messages that mean [`Intent::Yes`].
    pub yes: Vec<String>,
    /// Whole messages that mean [`Intent::Help`].
    pub help: Vec<String>,
    /// What stands before a topic to subscribe to it.
    pub subscribe: Vec<String>,
    /// What stands before a topic to leave it.
    pub unsubscribe: Vec<String>,
    /// Words and phrases that put a longer text up for review.
    pub revocation: Vec<String>,
}

impl Default for KeywordLists {
    /// The built-in table in several languages.
    fn default() -> Self {
        toml::from_str(include_str!("../../data/keywords.toml"))
            .expect("the embedded table is read by a test")
    }
}

/// Longest word or phrase that can be added, in characters.
const LONGEST_WORD: usize = 60;
/// Words that can be added to one list.
const MOST_WORDS: usize = 200;

impl KeywordLists {
    fn named(&self) -> [(&'static str, &Vec<String>); 7] {
        [
            ("stop", &self.stop),
            ("start", &self.start),
            ("yes", &self.yes),
            ("help", &self.help),
            ("subscribe", &self.subscribe),
            ("unsubscribe", &self.unsubscribe),
            ("revocation", &self.revocation),
        ]
    }

    /// Whether these words may be added to the built-in table: none gives a word that has a meaning another.
    ///
    /// # Errors
    /// The list and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let built_in = KeywordTable::default();
        let mut whole: HashMap<String, &str> = HashMap::new();
        for (list, words) in self.named() {
            if words.len() > MOST_WORDS {
                return Err((list, format!("at most {MOST_WORDS} words")));
            }
            for word in words {
                let key = Normal::of(word).key().filter(|key| !key.is_empty());
                let Some(key) = key.filter(|_| word.chars().count() <= LONGEST_WORD) else {
                    return Err((list, format!("{word:?} is no word of 1 to {LONGEST_WORD} characters")));
                };
                let Some(meaning) = meaning(list) else {
                    continue;
                };
                if built_in.whole.get(&key).is_some_and(|known| *known != meaning) {
                    return Err((list, format!("{word:?} has another meaning, which it keeps")));
                }
                if whole.insert(key, list).is_some_and(|other| other != list) {
                    return Err((list, format!("{word:?} stands in two lists")));
                }
            }
        }
        Ok(())
    }
}

/// What a whole message of this list means.
fn meaning(list: &str) -> Option<Intent> {
    match list {
        "stop" => Some(Intent::Stop),
        "start" => Some(Intent::Start),
        "yes" => Some(Intent::Yes),
        "help" => Some(Intent::Help),
        _ => None,
    }
}

/// The lists made ready for comparison; build it once and share it.
#[derive(Clone, Debug)]
pub struct KeywordTable {
    /// Meaning of a whole message, by its key.
    whole: HashMap<String, Intent>,
    /// Whether what stands before a topic leaves it, by its key.
    leaves_topic: HashMap<String, bool>,
    /// Phrases of revocation as words, by their first word.
    revocation: HashMap<String, Vec<Vec<String>>>,
    /// Phrases in scripts without blanks.
    unspaced_revocation: Vec<String>,
}

impl Default for KeywordTable {
    fn default() -> Self {
        Self::new(&KeywordLists::default())
    }
}

impl KeywordTable {
    /// Makes the table. Where a word stands in several lists the strictest meaning counts; a word
    /// without letters and digits is left out.
    pub fn new(lists: &KeywordLists) -> Self {
        let mut whole = HashMap::new();
        for (words, intent) in [
            (&lists.help, Intent::Help),
            (&lists.yes, Intent::Yes),
            (&lists.start, Intent::Start),
            (&lists.stop, Intent::Stop),
        ] {
            whole.extend(keys(words).map(|key| (key, intent.clone())));
        }
        whole.extend(ALWAYS_STOP.map(|word| (word.to_owned(), Intent::Stop)));
        let mut leaves_topic: HashMap<_, _> = keys(&lists.subscribe).map(|key| (key, false)).collect();
        leaves_topic.extend(keys(&lists.unsubscribe).map(|key| (key, true)));
        let mut table =
            Self { whole, leaves_topic, revocation: HashMap::new(), unspaced_revocation: Vec::new() };
        for phrase in &lists.revocation {
            table.add_revocation(&Normal::of(phrase));
        }
        table
    }

    /// The built-in table and these words.
    pub fn with_added(added: &KeywordLists) -> Self {
        let mut lists = KeywordLists::default();
        lists.stop.extend_from_slice(&added.stop);
        lists.start.extend_from_slice(&added.start);
        lists.yes.extend_from_slice(&added.yes);
        lists.help.extend_from_slice(&added.help);
        lists.subscribe.extend_from_slice(&added.subscribe);
        lists.unsubscribe.extend_from_slice(&added.unsubscribe);
        lists.revocation.extend_from_slice(&added.revocation);
        Self::new(&lists)
    }

    fn add_revocation(&mut self, phrase: &Normal) {
        let words: Vec<String> = phrase.words().into_iter().map(str::to_owned).collect();
        let Some(first) = words.first() else {
            return;
        };
        if phrase.as_str().chars().any(is_unspaced) {
            self.unspaced_revocation.push(phrase.as_str().to_owned());
        } else {
            self.revocation.entry(first.clone()).or_default().push(words);
        }
    }

    /// What `body` asks for. `topics` are the names of the known topics; the one that is meant is
    /// told as it is written there. Time is linear in the body.
    pub fn classify(&self, body: &str, topics: &[impl AsRef<str>]) -> Intent {
        self.read(body).intent(topics)
    }

    /// Reads `body` as far as that needs no names of topics.
    pub fn read(&self, body: &str) -> Said {
        let text = Normal::of(body);
        if let Some(intent) = text.key().and_then(|key| self.whole.get(&key)) {
            return Said { requests: Vec::new(), otherwise: intent.clone() };
        }
        let words = text.words();
        let is_for_review = self.is_short_with_stop(&words) || self.is_revocation(&text, &words);
        Said {
            requests: self.topic_requests(&words),
            otherwise: if is_for_review { Intent::Review } else { Intent::Plain },
        }
    }

    fn topic_requests(&self, words: &[&str]) -> Vec<TopicRequest> {
        (1..=LONGEST_PREFIX)
            .filter_map(|length| {
                let (prefix, name) = words.split_at_checked(length)?;
                let leaves = *self.leaves_topic.get(&prefix.concat())?;
                let name = name.concat();
                (!name.is_empty()).then_some(TopicRequest { leaves, name })
            })
            .collect()
    }

    fn is_short_with_stop(&self, words: &[&str]) -> bool {
        words.len() <= SHORT_TEXT && words.iter().any(|word| self.whole.get(*word) == Some(&Intent::Stop))
    }

    fn is_revocation(&self, text: &Normal, words: &[&str]) -> bool {
        let has_phrase = words.iter().enumerate().any(|(index, word)| {
            let rest = words.get(index..).unwrap_or_default();
            self.revocation.get(*word).is_some_and(|phrases| {
                phrases
                    .iter()
                    .any(|phrase| phrase.len() <= rest.len() && phrase.iter().zip(rest).all(|(a, b)| a == b))
            })
        });
        has_phrase || self.unspaced_revocation.iter().any(|phrase| text.as_str().contains(phrase.as_str()))
    }
}

fn keys(words: &[String]) -> impl Iterator<Item = String> {
    words.iter().filter_map(|word| Normal::of(word).key()).filter(|key| !key.is_empty())
}

/// Han and kana, which are written without blanks between words.
fn is_unspaced(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests;
