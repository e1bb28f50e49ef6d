//! Turns a segment's definition into one SQL predicate. What each condition means is told in
//! [`crate::domain::segment`]; how SQLite is brought to mean the same, here.
//!
//! Two rules hold everywhere. No value and no attribute's name ever becomes SQL text: all are bound.
//! And every condition is two-valued: where SQL could say NULL, `IS TRUE` makes it a no, so that
//! `NOT` is a plain complement. `IS TRUE` costs nothing: SQLite turns it into a jump.
//!
//! Attributes have a file of their own, since JSON in SQL has traps of its own.

mod attribute;

use rusqlite::types::Value;
use sha2::{Digest, Sha256};

use crate::domain::segment::{
    AttributeTest, Condition, CountryTest, Definition, Engagement, EngagementKind, LastInboundTest, Node,
    PhoneTest, Sample, TimeTest, TriggerCount,
};

/// A boolean SQL expression over a table `users` under the alias `u`. It is 0 or 1, never NULL, and
/// stands in parentheses: `… FROM users AS u WHERE u.erased_at IS NULL AND <sql>`, or `NOT <sql>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    /// The expression, with a plain `?` for each parameter.
    pub sql: String,
    /// The parameters in the order of their `?`. In a bigger statement they come after the
    /// parameters that stand before the expression; that statement uses plain `?` too.
    pub params: Vec<Value>,
}

/// Compiles a definition, as seen at `now_ms` (milliseconds since 1970, UTC).
pub fn compile(definition: &Definition, now_ms: i64) -> Predicate {
    let mut compiler = Compiler { sql: String::new(), params: Vec::new(), now_ms };
    compiler.push("(");
    compiler.node(definition.root());
    compiler.push(")");
    Predicate { sql: compiler.sql, params: compiler.params }
}

struct Compiler {
    sql: String,
    params: Vec<Value>,
    now_ms: i64,
}

/// Groups.
impl Compiler {
    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Adds SQL and the parameters of the `?` in it.
    fn bind<const N: usize>(&mut self, sql: &str, params: [Value; N]) {
        debug_assert_eq!(sql.matches('?').count(), N, "{sql}");
        self.push(sql);
        self.params.extend(params);
    }

    /// Adds `?, ?, …`.
    fn bind_list(&mut self, values: impl IntoIterator<Item = Value>) {
        for (index, value) in values.into_iter().enumerate() {
            self.push(if index == 0 { "?" } else { ", ?" });
            self.params.push(value);
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::All(children) => self.group(children, " AND ", "1"),
            Node::Any(children) => self.group(children, " OR ", "0"),
            Node::Not(inner) => {
                self.push("NOT (");
                self.node(inner);
                self.push(")");
            }
            Node::Condition(condition) => self.condition(condition),
        }
    }

    /// The order within a group is free, so what is cheap to ask is asked first.
    fn group(&mut self, children: &[Node], joint: &str, when_empty: &str) {
        if children.is_empty() {
            return self.push(when_empty);
        }
        let mut ordered: Vec<&Node> = children.iter().collect();
        ordered.sort_by_cached_key(|child| cost(child));
        self.push("(");
        for (index, child) in ordered.into_iter().enumerate() {
            if index > 0 {
                self.push(joint);
            }
            self.node(child);
        }
        self.push(")");
    }

    fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::Attribute { path, test } => self.attribute(path, test),
            Condition::Phone(test) => self.phone(test),
            Condition::Country(CountryTest::Exists) => self.push("u.country IS NOT NULL"),
            Condition::Country(CountryTest::OneOf(codes)) => self.one_of("u.country", codes),
            Condition::Consent(states) => {
                let words: Vec<String> = states.iter().map(|state| state.as_str().into()).collect();
                self.one_of("u.consent", &words);
            }
            Condition::CreatedAt(test) => self.time("u.created_at", *test),
            Condition::LastInboundAt(LastInboundTest::Exists) => {
                self.push("u.last_inbound_at IS NOT NULL");
            }
            Condition::LastInboundAt(LastInboundTest::Time(test)) => {
                self.time("u.last_inbound_at", *test);
            }
            Condition::Topic(names) => self.topic(names),
            Condition::Engagement(engagement) => self.engagement(*engagement),
            Condition::Trigger(count) => self.trigger(count),
            Condition::Sample(sample) => self.sample(sample),
        }
    }
}

/// About how many hundred nanoseconds a condition takes for one person.
fn cost(node: &Node) -> u32 {
    match node {
        Node::All(children) | Node::Any(children) => children.iter().map(cost).sum(),
        Node::Not(inner) => cost(inner),
        Node::Condition(condition) => match condition {
            Condition::Attribute { test: AttributeTest::Contains(_), .. } => 4,
            Condition::Attribute { test: AttributeTest::Time(_), .. } => 5,
            Condition::Attribute { .. } => 2,
            Condition::Engagement(_) | Condition::Topic(_) => 20,
            _ => 1,
        },
    }
}

/// Columns of the person.
impl Compiler {
    fn one_of(&mut self, column: &str, values: &[String]) {
        self.push("(");
        self.push(column);
        self.push(" IN (");
        self.bind_list(values.iter().map(text));
        self.push(")) IS TRUE");
    }

    fn phone(&mut self, test: &PhoneTest) {
        match test {
            PhoneTest::Exists => self.push("u.phone IS NOT NULL"),
            PhoneTest::OneOf(phones) => self.one_of("u.phone", phones),
            PhoneTest::Contains(digits) => {
                self.bind("(instr(u.phone, ?) > 0) IS TRUE", [text(digits)]);
            }
            PhoneTest::StartsWith(start) => {
                self.bind("(instr(u.phone, ?) = 1) IS TRUE", [text(start)]);
            }
        }
    }

    fn time(&mut self, column: &str, test: TimeTest) {
        self.push("(");
        self.push(column);
        match test {
            TimeTest::Before(instant) => self.bind(" < ?", [instant.into()]),
            TimeTest::After(instant) => self.bind(" > ?", [instant.into()]),
            TimeTest::WithinLast(span) => self.between_then_and_now(span.as_millis()),
        }
        self.push(") IS TRUE");
    }

    fn between_then_and_now(&mut self, span_ms: i64) {
        let now = self.now_ms;
        self.bind(" BETWEEN ? AND ?", [now.saturating_sub(span_ms).into(), now.into()]);
    }

    /// Spreads ids by a product of two linear forms modulo the prime 2^31 - 1, plus a constant, all
    /// drawn from the seed. Every step stays below 2^62. One linear form alone would do for the
    /// share, but two seeds could then pick in step with each other.
    fn sample(&mut self, sample: &Sample) {
        const PRIME: i64 = (1 << 31) - 1;
        let digest = Sha256::digest(sample.seed.as_bytes());
        let mut drawn = digest.chunks_exact(4).map(|chunk| {
            let number = chunk.iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
            Value::from(1 + number % (PRIME - 1))
        });
        let mut next = || drawn.next().expect("a digest has eight chunks, five are drawn");
        let threshold = i64::from(sample.share_ppm) * PRIME / 1_000_000;
        self.bind(
            "((((u.id % 2147483647 * ? + ?) % 2147483647) * ((u.id % 2147483647 * ? + ?) % 2147483647) \
             + ?) % 2147483647 < ?)",
            [next(), next(), next(), next(), next(), threshold.into()],
        );
    }
}

/// What happened to the person, in other tables.
impl Compiler {
    fn topic(&mut self, names: &[String]) {
        self.push(
            "EXISTS (SELECT 1 FROM topics AS t \
             LEFT JOIN subscriptions AS s ON s.topic_id = t.id AND s.user_id = u.id \
             WHERE t.name IN (",
        );
        self.bind_list(names.iter().map(text));
        self.push(
            ") AND CASE s.state WHEN 'subscribed' THEN 1 WHEN 'unsubscribed' THEN 0 \
             ELSE t.default_rule = 'all_opted_in' AND u.consent = 'opt_in' END)",
        );
    }

    fn engagement(&mut self, engagement: Engagement) {
        let (statuses, at) = match engagement.kind {
            EngagementKind::Sent => (
                "'accepted', 'sent', 'delivered', 'read'",
                "coalesce(m.accepted_at, m.sent_at, m.created_at)",
            ),
            EngagementKind::Delivered => ("'delivered', 'read'", "coalesce(m.delivered_at, m.read_at)"),
            EngagementKind::Read => ("'read'", "m.read_at"),
            EngagementKind::Failed => {
                ("'failed', 'undelivered', 'expired'", "coalesce(m.accepted_at, m.created_at)")
            }
            EngagementKind::Replied => return self.replied(engagement),
        };
        self.push("EXISTS (SELECT 1 FROM messages AS m WHERE m.user_id = u.id");
        if let Some(campaign_id) = engagement.campaign_id {
            self.bind(" AND m.campaign_id = ?", [campaign_id.into()]);
        }
        self.push(" AND m.status IN (");
        self.push(statuses);
        self.push(")");
        if let Some(span) = engagement.within_last {
            self.push(" AND ");
            self.push(at);
            self.between_then_and_now(span.as_millis());
        }
        self.push(")");
    }

    fn replied(&mut self, engagement: Engagement) {
        self.push("EXISTS (SELECT 1 FROM inbound AS i WHERE i.user_id = u.id");
        if let Some(campaign_id) = engagement.campaign_id {
            self.bind(
                " AND i.received_at >= (SELECT min(m.accepted_at) FROM messages AS m \
                 WHERE m.user_id = u.id AND m.campaign_id = ?)",
                [campaign_id.into()],
            );
        }
        if let Some(span) = engagement.within_last {
            self.push(" AND i.received_at");
            self.between_then_and_now(span.as_millis());
        }
        self.push(")");
    }

    /// Not correlated: triggers are read once, whatever the number of people.
    fn trigger(&mut self, count: &TriggerCount) {
        self.bind(
            "u.id IN (SELECT g.user_id FROM triggers AS g WHERE g.type = ? AND g.user_id IS NOT NULL",
            [text(&count.kind)],
        );
        if let Some(span) = count.within_last {
            self.push(" AND g.occurred_at");
            self.between_then_and_now(span.as_millis());
        }
        if count.at_least > 1 {
            self.bind(" GROUP BY g.user_id HAVING count(*) >= ?", [count.at_least.into()]);
        }
        self.push(")");
    }
}

fn text(written: impl AsRef<str>) -> Value {
    Value::Text(written.as_ref().to_owned())
}
