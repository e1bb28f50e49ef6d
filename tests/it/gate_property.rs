//! What the gate promises whatever the facts are.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::content::Standing;
use event_stream_engine::domain::gate::{Content, Facts, Membership, Reason, Step, Verdict, check, gate};
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::domain::quiet_hours::Decision;
use proptest::option;
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

fn instant() -> impl Strategy<Value = i64> {
    (-2 * DAY..2 * DAY).prop_map(|offset| NOW + offset)
}

fn hours() -> impl Strategy<Value = Decision> {
    let later = 1..2 * DAY;
    prop_oneof![
        later.clone().prop_map(|ahead| Decision::Open { closes_at: NOW + ahead }),
        (later.clone(), later)
            .prop_map(|(until, open)| Decision::Wait { until: NOW + until, closes_at: NOW + until + open }),
        Just(Decision::ZoneTooWide),
    ]
}

fn who() -> impl Strategy<Value = (Kind, Channel, Consent, Membership, Content, Standing)> {
    let kinds = [Kind::Marketing, Kind::Transactional, Kind::Reply, Kind::Confirmation];
    let memberships = [
        Membership::NoTopic,
        Membership::Subscribed,
        Membership::Unsubscribed,
        Membership::OpenToOptedIn,
        Membership::NotJoined,
    ];
    let standings = [Standing::Unknown, Standing::Approved, Standing::Unapproved, Standing::Withdrawn];
    let contents = [Content::Ready { parts: 1 }, Content::TooLong, Content::Broken, Content::Missing(vec![])];
    (
        prop::sample::select(kinds.to_vec()),
        prop::sample::select(vec![Channel::Sms, Channel::Whatsapp]),
        prop::sample::select(vec![Consent::OptIn, Consent::Unknown, Consent::OptOut, Consent::Stop]),
        prop::sample::select(memberships.to_vec()),
        prop::sample::select(contents.to_vec()),
        prop::sample::select(standings.to_vec()),
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    // Mostly fine, so that the later steps have their turn.
    let flags = prop::collection::vec(prop::bool::weighted(0.1), 4);
    let free = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let times = prop::collection::vec(option::of(instant()), 6);
    (who(), flags, free, times, option::of(hours())).prop_map(|(who, flags, free, times, hours)| Facts {
        kind: who.0,
        channel: who.1,
        consent: who.2,
        membership: who.3,
        content: who.4,
        has_address: !flags[0],
        is_suppressed: flags[1],
        is_held: flags[2],
        is_reachable: !flags[3],
        has_content_template: free.0,
        template_standing: who.5,
        is_marketing_template: free.3,
        is_us_number: free.1,
        is_confirmed: free.2,
        expires_at: times[0],
        last_inbound_at: times[1],
        last_whatsapp_inbound_at: times[2],
        not_before: times[3],
        daily_limit_until: times[4],
        frequency_cap_until: times[5],
        hours,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_is_sent_against_a_stop_a_suppression_or_a_dead_number(facts in facts()) {
        if let Verdict::Send { .. } | Verdict::Defer { .. } = gate(&facts, NOW) {
            prop_assert!(facts.consent != Consent::Stop || facts.kind == Kind::Confirmation);
            prop_assert!(facts.has_address && facts.is_reachable && !facts.is_suppressed);
            prop_assert!(facts.kind != Kind::Marketing || facts.consent == Consent::OptIn);
            prop_assert!(facts.kind != Kind::Marketing || !facts.is_held);
            let is_ready = matches!(facts.content, Content::Ready { .. });
            prop_assert!(is_ready);
        }
    }

    #[test]
    fn marketing_is_sent_within_open_hours_and_before_they_close(facts in facts()) {
        if let (Kind::Marketing, Verdict::Send { closes_at }) = (facts.kind, gate(&facts, NOW)) {
            match facts.hours {
                None => prop_assert_eq!(closes_at, None),
                Some(Decision::Open { closes_at: end }) => prop_assert_eq!(closes_at, Some(end)),
                Some(other) => prop_assert!(false, "sent at {:?}", other),
            }
        }
    }

    #[test]
    fn a_template_goes_out_only_as_far_as_whatsapp_lets_it(facts in facts()) {
        let is_template = facts.channel == Channel::Whatsapp && facts.has_content_template;
        if let (true, Verdict::Send { .. }) = (is_template, gate(&facts, NOW)) {
            let is_window_open = facts.last_whatsapp_inbound_at.is_some_and(|at| NOW - at < DAY);
            prop_assert!(facts.template_standing != Standing::Withdrawn);
            prop_assert!(facts.template_standing != Standing::Unapproved || is_window_open);
            prop_assert!(!(facts.is_marketing_template && facts.is_us_number));
        }
    }

    #[test]
    fn waiting_ends_later_than_now_and_before_the_deadline(facts in facts()) {
        if let Verdict::Defer { until, closes_at, .. } = gate(&facts, NOW) {
            prop_assert!(until > NOW);
            prop_assert!(facts.expires_at.is_none_or(|end| until < end));
            prop_assert!(closes_at.is_none_or(|end| end > until));
        }
    }

    #[test]
    fn it_is_sent_exactly_if_no_step_objects(facts in facts()) {
        let is_clear = Step::ALL.iter().all(|step| matches!(check(*step, &facts, NOW), Verdict::Send { .. }));
        let is_sent = matches!(gate(&facts, NOW), Verdict::Send { .. });
        prop_assert_eq!(is_sent, is_clear);
    }

    #[test]
    fn what_is_put_off_for_the_deadline_says_what_it_waited_for(facts in facts()) {
        if let Verdict::Expire(reason) = gate(&facts, NOW) {
            prop_assert!(facts.expires_at.is_some());
            let waits =
                [Reason::Deadline, Reason::LocalTime, Reason::QuietHours, Reason::DailyLimit, Reason::FrequencyCap];
            prop_assert!(waits.contains(&reason), "{:?}", reason);
        }
    }
}
