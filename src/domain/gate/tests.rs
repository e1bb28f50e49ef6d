//! Every cell of the gate's table, and every step by itself.

use super::*;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

const KINDS: [Kind; 4] = [Kind::Marketing, Kind::Transactional, Kind::Reply, Kind::Confirmation];
const CONSENTS: [Consent; 4] = [Consent::OptIn, Consent::Unknown, Consent::OptOut, Consent::Stop];

/// A message that nothing speaks against.
fn fine() -> Facts {
    Facts {
        kind: Kind::Marketing,
        channel: Channel::Sms,
        consent: Consent::OptIn,
        has_address: true,
        is_suppressed: false,
        is_held: false,
        is_reachable: true,
        membership: Membership::NoTopic,
        expires_at: None,
        content: Content::Ready { parts: 1 },
        last_inbound_at: None,
        last_whatsapp_inbound_at: None,
        has_content_template: false,
        template_standing: Standing::Unknown,
        is_marketing_template: false,
        is_us_number: false,
        not_before: None,
        hours: None,
        daily_limit_until: None,
        frequency_cap_until: None,
        is_confirmed: false,
    }
}

/// One thing that speaks against a message.
type Change = fn(&mut Facts);

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = fine();
    change(&mut facts);
    facts
}

const SEND: Verdict = Verdict::Send { closes_at: None };

fn skip(reason: Reason) -> Verdict {
    Verdict::Skip(reason)
}

fn wait(until: i64, reason: Reason) -> Verdict {
    Verdict::Defer { until, reason, closes_at: None }
}

#[test]
fn every_cell_of_kind_and_consent_is_as_the_table_says() {
    use Reason::{AlreadyConfirmed, ConsentUnknown, OptedOut, Stop};
    let table: [[Option<Reason>; 4]; 4] = [
        // opt_in, unknown, opt_out, stop
        [None, Some(ConsentUnknown), Some(OptedOut), Some(Stop)],
        [None, None, None, Some(Stop)],
        [None, None, None, Some(Stop)],
        [Some(AlreadyConfirmed), Some(AlreadyConfirmed), Some(AlreadyConfirmed), None],
    ];
    for (kind, row) in KINDS.into_iter().zip(table) {
        for (consent, refused) in CONSENTS.into_iter().zip(row) {
            let facts = with(|facts| {
                (facts.kind, facts.consent, facts.last_inbound_at) = (kind, consent, Some(NOW - HOUR));
            });
            let expected = refused.map_or(SEND, Verdict::Skip);
            assert_eq!(gate(&facts, NOW), expected, "{kind:?} to {consent:?}");
        }
    }
}

#[test]
fn a_reply_needs_a_message_of_the_last_24_hours() {
    let table = [
        (None, skip(Reason::ReplyWindowClosed)),
        (Some(NOW - DAY), skip(Reason::ReplyWindowClosed)),
        (Some(NOW - DAY + 1), SEND),
        (Some(NOW), SEND),
    ];
    for (last_inbound_at, expected) in table {
        let facts = with(|facts| (facts.kind, facts.last_inbound_at) = (Kind::Reply, last_inbound_at));
        assert_eq!(gate(&facts, NOW), expected, "{last_inbound_at:?}");
    }
}

#[test]
fn a_stop_is_confirmed_once() {
    for (is_confirmed, expected) in [(false, SEND), (true, skip(Reason::AlreadyConfirmed))] {
        let facts = with(|facts| {
            (facts.kind, facts.consent, facts.is_confirmed) =
                (Kind::Confirmation, Consent::Stop, is_confirmed);
        });
        assert_eq!(gate(&facts, NOW), expected);
    }
}

#[test]
fn marketing_goes_to_those_who_want_the_topic() {
    let table = [
        (Membership::NoTopic, true),
        (Membership::Subscribed, true),
        (Membership::OpenToOptedIn, true),
        (Membership::Unsubscribed, false),
        (Membership::NotJoined, false),
    ];
    for (membership, is_wanted) in table {
        let expected = if is_wanted { SEND } else { skip(Reason::NotSubscribed) };
        assert_eq!(gate(&with(|facts| facts.membership = membership), NOW), expected, "{membership:?}");
        let other = with(|facts| (facts.kind, facts.membership) = (Kind::Transactional, membership));
        assert_eq!(gate(&other, NOW), SEND, "transactional, {membership:?}");
    }
}

#[test]
fn an_open_topic_is_open_to_opted_in_people_only() {
    for consent in [Consent::Unknown, Consent::OptOut, Consent::Stop] {
        let facts = with(|facts| (facts.membership, facts.consent) = (Membership::OpenToOptedIn, consent));
        assert_eq!(check(Step::Topic, &facts, NOW), skip(Reason::NotSubscribed), "{consent:?}");
    }
}

#[test]
fn a_hold_keeps_marketing_back_and_nothing_else() {
    for kind in KINDS {
        let facts = with(|facts| (facts.kind, facts.is_held) = (kind, true));
        let expected = if kind == Kind::Marketing { skip(Reason::Held) } else { SEND };
        assert_eq!(check(Step::Hold, &facts, NOW), expected, "{kind:?}");
    }
}

#[test]
fn no_kind_reaches_an_address_that_is_gone_suppressed_or_dead() {
    for kind in KINDS {
        let refusals: [(Change, Step, Reason); 3] = [
            (|facts| facts.has_address = false, Step::Address, Reason::NoAddress),
            (|facts| facts.is_suppressed = true, Step::Address, Reason::Suppressed),
            (|facts| facts.is_reachable = false, Step::Reachable, Reason::Unreachable),
        ];
        for (change, step, reason) in refusals {
            let mut facts = with(|facts| facts.kind = kind);
            change(&mut facts);
            assert_eq!(check(step, &facts, NOW), skip(reason), "{kind:?}");
        }
    }
}

#[test]
fn a_passed_deadline_expires_and_so_does_waiting_beyond_it() {
    assert_eq!(gate(&with(|facts| facts.expires_at = Some(NOW + 1)), NOW), SEND);
    assert_eq!(gate(&with(|facts| facts.expires_at = Some(NOW)), NOW), Verdict::Expire(Reason::Deadline));
    let waits = |expires_at| {
        with(|facts| (facts.not_before, facts.expires_at) = (Some(NOW + HOUR), Some(expires_at)))
    };
    assert_eq!(gate(&waits(NOW + HOUR + 1), NOW), wait(NOW + HOUR, Reason::LocalTime));
    assert_eq!(gate(&waits(NOW + HOUR), NOW), Verdict::Expire(Reason::LocalTime));
}

#[test]
fn a_text_that_can_not_be_made_is_not_sent() {
    let table = [
        (Content::Missing(vec!["name".to_owned()]), Reason::MissingVariable),
        (Content::TooLong, Reason::ContentTooLong),
        (Content::Broken, Reason::ContentBroken),
    ];
    for (content, reason) in table {
        assert_eq!(gate(&with(|facts| facts.content = content), NOW), skip(reason));
    }
}

#[test]
fn whatsapp_takes_free_text_within_24_hours_and_approved_templates_always() {
    let (open, closed) = (Some(NOW - DAY + 1), Some(NOW - DAY));
    let outside = skip(Reason::OutsideWhatsappWindow);
    let us = skip(Reason::WhatsappUsMarketing);
    // kind, US number, Content template, last message, verdict
    let table = [
        (Kind::Marketing, false, false, open, &SEND),
        (Kind::Marketing, false, false, closed, &outside),
        (Kind::Marketing, false, false, None, &outside),
        (Kind::Marketing, false, true, None, &SEND),
        (Kind::Marketing, true, true, None, &us),
        (Kind::Marketing, true, true, open, &us),
        (Kind::Marketing, true, false, open, &SEND),
        (Kind::Marketing, true, false, closed, &us),
        (Kind::Transactional, true, true, None, &SEND),
        (Kind::Transactional, true, false, closed, &outside),
        (Kind::Transactional, false, false, open, &SEND),
    ];
    for (kind, is_us_number, has_content_template, heard, expected) in table {
        let facts = with(|facts| {
            (facts.channel, facts.kind) = (Channel::Whatsapp, kind);
            (facts.is_us_number, facts.has_content_template) = (is_us_number, has_content_template);
            facts.last_whatsapp_inbound_at = heard;
        });
        let case = format!("{kind:?} us={is_us_number} template={has_content_template} {heard:?}");
        assert_eq!(check(Step::Whatsapp, &facts, NOW), *expected, "{case}");
        let sms = Facts { channel: Channel::Sms, ..facts };
        assert_eq!(check(Step::Whatsapp, &sms, NOW), SEND, "SMS, {case}");
    }
}

#[test]
fn an_sms_does_not_open_the_whatsapp_window() {
    let facts = with(|facts| {
        (facts.channel, facts.last_inbound_at) = (Channel::Whatsapp, Some(NOW - HOUR));
    });
    assert_eq!(gate(&facts, NOW), skip(Reason::OutsideWhatsappWindow));
}

#[test]
fn the_frequency_cap_defers_marketing_until_there_is_room() {
    let capped = |kind, until| with(|facts| (facts.kind, facts.frequency_cap_until) = (kind, Some(until)));
    assert_eq!(gate(&capped(Kind::Marketing, NOW + 5), NOW), wait(NOW + 5, Reason::FrequencyCap));
    assert_eq!(gate(&capped(Kind::Marketing, NOW), NOW), SEND);
    assert_eq!(gate(&capped(Kind::Transactional, NOW + 5), NOW), SEND);
}

#[test]
fn quiet_hours_defer_and_open_hours_say_when_they_close() {
    let night = Decision::Wait { until: NOW + 9 * HOUR, closes_at: NOW + 20 * HOUR };
    let expected = Verdict::Defer {
        until: NOW + 9 * HOUR,
        reason: Reason::QuietHours,
        closes_at: Some(NOW + 20 * HOUR),
    };
    assert_eq!(gate(&with(|facts| facts.hours = Some(night)), NOW), expected);
    let day = Decision::Open { closes_at: NOW + HOUR };
    let expected = Verdict::Send { closes_at: Some(NOW + HOUR) };
    assert_eq!(gate(&with(|facts| facts.hours = Some(day)), NOW), expected);
    let wide = with(|facts| facts.hours = Some(Decision::ZoneTooWide));
    assert_eq!(gate(&wide, NOW), skip(Reason::ZoneTooWide));
}

#[test]
fn answers_know_no_hours() {
    for (kind, consent) in [(Kind::Reply, Consent::OptIn), (Kind::Confirmation, Consent::Stop)] {
        let facts = with(|facts| {
            (facts.kind, facts.consent, facts.last_inbound_at) = (kind, consent, Some(NOW));
            facts.hours = Some(Decision::Wait { until: NOW + HOUR, closes_at: NOW + 2 * HOUR });
            facts.not_before = Some(NOW + HOUR);
        });
        assert_eq!(gate(&facts, NOW), SEND, "{kind:?}");
    }
}

#[test]
fn a_local_start_is_waited_for_before_the_hours_are_asked() {
    let facts = |until| {
        with(|facts| {
            facts.not_before = Some(until);
            facts.hours = Some(Decision::Wait { until: NOW + HOUR, closes_at: NOW + 2 * HOUR });
        })
    };
    assert_eq!(gate(&facts(NOW + 5), NOW), wait(NOW + 5, Reason::LocalTime));
    let passed = gate(&facts(NOW), NOW);
    assert!(matches!(passed, Verdict::Defer { reason: Reason::QuietHours, .. }), "{passed:?}");
}

#[test]
fn the_daily_limit_defers_what_we_begin_and_not_what_we_answer() {
    let limited = |kind| {
        with(|facts| {
            (facts.kind, facts.last_inbound_at) = (kind, Some(NOW));
            facts.daily_limit_until = Some(NOW + HOUR);
        })
    };
    assert_eq!(gate(&limited(Kind::Marketing), NOW), wait(NOW + HOUR, Reason::DailyLimit));
    assert_eq!(gate(&limited(Kind::Transactional), NOW), wait(NOW + HOUR, Reason::DailyLimit));
    assert_eq!(gate(&limited(Kind::Reply), NOW), SEND);
    assert_eq!(gate(&with(|facts| facts.daily_limit_until = Some(NOW)), NOW), SEND);
}

/// Each breaks one step, in the order of the steps.
const BREAKS: [(Step, Change); 11] = [
    (Step::Address, |facts| facts.has_address = false),
    (Step::Consent, |facts| facts.consent = Consent::Stop),
    (Step::Topic, |facts| facts.membership = Membership::Unsubscribed),
    (Step::Hold, |facts| facts.is_held = true),
    (Step::Reachable, |facts| facts.is_reachable = false),
    (Step::Deadline, |facts| facts.expires_at = Some(NOW)),
    (Step::Content, |facts| facts.content = Content::Broken),
    (Step::Whatsapp, |facts| facts.channel = Channel::Whatsapp),
    (Step::FrequencyCap, |facts| facts.frequency_cap_until = Some(NOW + 1)),
    (Step::Hours, |facts| facts.hours = Some(Decision::ZoneTooWide)),
    (Step::DailyLimit, |facts| facts.daily_limit_until = Some(NOW + 1)),
];

#[test]
fn the_first_step_that_objects_gives_the_reason() {
    assert_eq!(BREAKS.map(|(step, _)| step), Step::ALL);
    for (position, (step, _)) in BREAKS.iter().enumerate() {
        let mut facts = fine();
        for (_, break_it) in &BREAKS[position..] {
            break_it(&mut facts);
        }
        let own = check(*step, &facts, NOW);
        assert_ne!(own, SEND, "{step:?} does not object");
        let expected = match own {
            // With the deadline passed, whatever would wait expires; here it passes first.
            Verdict::Defer { reason, .. } if facts.expires_at.is_some() => Verdict::Expire(reason),
            verdict => verdict,
        };
        assert_eq!(gate(&facts, NOW), expected, "{step:?}");
    }
}

#[test]
fn a_template_goes_as_far_as_whatsapp_lets_it() {
    use Reason::{TemplateNotApproved, WhatsappUsMarketing};
    // Standing, window open, counted as marketing, US number.
    let table = [
        (Standing::Unknown, false, false, false, None),
        (Standing::Approved, false, false, false, None),
        (Standing::Unapproved, false, false, false, Some(TemplateNotApproved)),
        (Standing::Unapproved, true, false, false, None),
        (Standing::Withdrawn, false, false, false, Some(TemplateNotApproved)),
        (Standing::Withdrawn, true, false, false, Some(TemplateNotApproved)),
        (Standing::Approved, false, true, true, Some(WhatsappUsMarketing)),
        (Standing::Approved, true, true, true, Some(WhatsappUsMarketing)),
        (Standing::Approved, false, true, false, None),
        (Standing::Approved, false, false, true, None),
    ];
    for (standing, is_open, is_marketing, is_us, expected) in table {
        let facts = |channel| {
            with(|facts| {
                (facts.kind, facts.channel) = (Kind::Transactional, channel);
                facts.has_content_template = true;
                facts.template_standing = standing;
                facts.is_marketing_template = is_marketing;
                facts.is_us_number = is_us;
                facts.last_whatsapp_inbound_at = is_open.then_some(NOW - 1);
            })
        };
        let verdict = expected.map_or(SEND, skip);
        assert_eq!(
            gate(&facts(Channel::Whatsapp), NOW),
            verdict,
            "{standing:?} {is_open} {is_marketing} {is_us}"
        );
        assert_eq!(gate(&facts(Channel::Sms), NOW), SEND, "{standing:?} concerns WhatsApp alone");
    }
}

#[test]
fn every_reason_and_every_step_has_a_word_of_its_own() {
    let reasons: std::collections::HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(reasons.len(), Reason::ALL.len());
    let steps: std::collections::HashSet<&str> = Step::ALL.iter().map(|step| step.as_str()).collect();
    assert_eq!(steps.len(), Step::ALL.len());
}
