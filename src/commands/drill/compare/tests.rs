//! A small world in which everything holds, and for each check a way to doctor it that the check notices.

use super::super::cast::{Fate, Person};
use super::super::record::{
    Callback, Meaning, Meant, Message, Ours, Request, Script, Single, Start, Taken, Twilio, Word,
};
use super::{Check, compare};

const ANA: &str = "+12015550100";
const BEN: &str = "+12015550101";
const CLEO: &str = "+12015550102";
const DAN: &str = "+12015550103";
const EVE: &str = "+12015550104";

struct World {
    script: Script,
    twilio: Twilio,
    ours: Ours,
}

/// Ana gets campaign and code. Ben hears of nothing more once his STOP was answered. Cleo never said yes.
/// Dan's STOP met a dead server, and so did his START later. Eve's number does not exist.
fn world() -> World {
    World { script: script(), twilio: twilio(), ours: ours() }
}

fn script() -> Script {
    Script {
        people: [ANA, BEN, CLEO, DAN, EVE].map(person).to_vec(),
        campaigns: vec![Meant {
            id: 1,
            name: "Spring".to_owned(),
            audience: [ANA, BEN, CLEO, DAN, EVE].map(str::to_owned).into(),
            may_reach: [ANA, BEN, DAN, EVE].map(str::to_owned).into(),
        }],
        singles: vec![Single { key: "code".to_owned(), phone: ANA.to_owned(), answers: vec![6, 6] }],
        words: vec![
            word(BEN, Meaning::Stop, "SM-ben", 1_000, Some(1_010)),
            word(DAN, Meaning::Stop, "SM-dan", 2_000, None),
            word(DAN, Meaning::Start, "SM-dan-again", 20_000, None),
        ],
        starts: vec![
            Start { spawned_at: 0, ready_at: Some(100) },
            Start { spawned_at: 3_000, ready_at: Some(3_100) },
        ],
        kills: vec![1_900],
        late_lists: Vec::new(),
    }
}

fn twilio() -> Twilio {
    Twilio {
        requests: vec![
            request(500, ANA, 1, Some("SM1")),
            request(600, BEN, 2, Some("SM2")),
            request(4_000, EVE, 5, None),
            request(4_100, ANA, 6, Some("SM6")),
            // After his START Dan may be written to again.
            request(21_000, DAN, 4, Some("SM4")),
        ],
        messages: [
            ("SM1", ANA, 1, 510),
            ("SM2", BEN, 2, 610),
            ("SM6", ANA, 6, 4_110),
            ("SM4", DAN, 4, 21_010),
        ]
        .map(|(sid, phone, message_id, at)| {
            let status = "delivered".to_owned();
            (sid.to_owned(), Taken { phone: phone.to_owned(), message_id, at, status })
        })
        .into(),
        callbacks: vec![
            callback("SM1", "delivered", Some(200)),
            callback("SM2", "delivered", None),
            Callback { is_inbound: true, ended_at: 1_010, ..callback("SM-ben", "", Some(200)) },
        ],
        struck: Default::default(),
    }
}

fn ours() -> Ours {
    Ours {
        messages: [
            (1, message(Some(1), ANA, "delivered", None, &[490])),
            (2, message(Some(1), BEN, "sent", None, &[590])),
            (3, message(Some(1), CLEO, "skipped", Some("consent_unknown"), &[])),
            (4, message(Some(1), DAN, "delivered", None, &[20_990])),
            (5, message(Some(1), EVE, "failed", Some("provider_error"), &[3_990])),
            (6, message(None, ANA, "delivered", None, &[4_090])),
        ]
        .into(),
        receipts: [("SM1".to_owned(), "delivered".to_owned(), 0)].into(),
        inbound: [("SM-ben", "webhook"), ("SM-dan", "catch_up"), ("SM-dan-again", "catch_up")]
            .map(|(sid, source)| (sid.to_owned(), source.to_owned()))
            .into(),
        consents: [
            (BEN.to_owned(), vec![("opt_in".to_owned(), 0), ("stop".to_owned(), 1_005)]),
            (DAN.to_owned(), vec![("stop".to_owned(), 3_050), ("opt_in".to_owned(), 20_500)]),
        ]
        .into(),
        campaigns: [(1, "finished".to_owned())].into(),
        problems: Vec::new(),
    }
}

fn person(phone: &str) -> Person {
    let fate = if phone == EVE { Fate::Refused(30006) } else { Fate::Reachable };
    Person { phone: phone.to_owned(), wave: 0, is_opted_in: phone != CLEO, has_topic: true, fate }
}

fn word(phone: &str, meaning: Meaning, sid: &str, sent_at: i64, answered_at: Option<i64>) -> Word {
    let (phone, sid) = (phone.to_owned(), sid.to_owned());
    Word { phone, meaning, sid, sent_at, answered_at, was_dead: answered_at.is_none() }
}

fn request(at: i64, phone: &str, message_id: i64, sid: Option<&str>) -> Request {
    Request { at, phone: phone.to_owned(), message_id, sid: sid.map(str::to_owned) }
}

fn callback(sid: &str, status: &str, answer: Option<u16>) -> Callback {
    let (sid, status) = (sid.to_owned(), status.to_owned());
    Callback { is_inbound: false, sid, status, code: 0, answer, ended_at: 700 }
}

fn message(campaign_id: Option<i64>, phone: &str, status: &str, reason: Option<&str>, at: &[i64]) -> Message {
    let kind = if campaign_id.is_some() { "marketing" } else { "transactional" };
    Message {
        campaign_id,
        phone: phone.to_owned(),
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        attempts: at.to_vec(),
    }
}

/// Names of the checks that fail in a world doctored so.
fn failing(doctor: impl Fn(&mut World)) -> Vec<&'static str> {
    let mut world = world();
    doctor(&mut world);
    let checks = compare(&world.script, &world.twilio, &world.ours);
    checks.iter().filter(|check| !check.passed()).map(|check| check.name).collect()
}

#[test]
fn everything_holds_in_a_good_world() {
    assert_eq!(failing(|_| {}), [""; 0]);
}

fn again(world: &mut World, message_id: i64, at: i64) {
    let first = world.twilio.messages["SM1"].clone();
    world.twilio.messages.insert("SM9".to_owned(), Taken { message_id, at, ..first });
}

type Doctored = (&'static str, fn(&mut World));

#[test]
fn a_lost_a_doubled_and_a_stranger_in_a_campaign_are_noticed() {
    let table: [Doctored; 3] = [
        ("lost", |world| drop(world.ours.messages.remove(&3))),
        ("doubled", |world| {
            let cleo = world.ours.messages[&3].clone();
            world.ours.messages.insert(7, cleo);
        }),
        ("stranger", |world| assert!(world.script.campaigns[0].audience.remove(CLEO))),
    ];
    for (what, doctor) in table {
        assert_eq!(
            failing(doctor),
            ["Each campaign has exactly one message for each of its people"],
            "{what}"
        );
    }
}

#[test]
fn a_double_is_noticed_unless_the_first_had_failed_or_no_list_could_tell() {
    let twice = "Nobody got a message twice that Twilio's list could have told of";
    assert_eq!(failing(|world| again(world, 1, 5_000)), [twice]);
    assert_eq!(failing(|world| again(world, 1, 1_900)), [""; 0]);
    let after_a_failure = |world: &mut World| {
        again(world, 1, 5_000);
        world.twilio.messages.get_mut("SM1").unwrap().status = "undelivered".to_owned();
    };
    assert_eq!(failing(after_a_failure), [""; 0]);
}

#[test]
fn somebody_without_a_message_and_without_a_reason_is_noticed() {
    let table: [Doctored; 2] = [
        ("no reason", |world| world.ours.messages.get_mut(&3).unwrap().reason = None),
        ("believed sent", |world| world.ours.messages.get_mut(&5).unwrap().status = "sent".to_owned()),
    ];
    for (what, doctor) in table {
        assert_eq!(failing(doctor), ["Whoever got nothing has a recorded reason"], "{what}");
    }
}

#[test]
fn what_went_to_the_wrong_person_or_counts_as_skipped_is_noticed() {
    let known = "Whatever Twilio took is known here, and to the same person";
    let table: [Doctored; 3] = [
        ("no message", |world| world.twilio.messages.get_mut("SM2").unwrap().message_id = 99),
        ("wrong person", |world| world.twilio.messages.get_mut("SM2").unwrap().phone = DAN.to_owned()),
        ("skipped", |world| {
            let message = world.ours.messages.get_mut(&2).unwrap();
            (message.status, message.reason) = ("skipped".to_owned(), Some("stop".to_owned()));
        }),
    ];
    for (what, doctor) in table {
        assert!(failing(doctor).contains(&known), "{what}");
    }
}

#[test]
fn a_key_that_made_two_messages_or_none_is_noticed() {
    let table: [Doctored; 3] = [
        ("two", |world| {
            world.script.singles[0].answers[1] = 7;
            let single = world.ours.messages[&6].clone();
            world.ours.messages.insert(7, Message { attempts: Vec::new(), ..single });
            again(world, 7, 6_000);
        }),
        ("none", |world| world.script.singles[0].answers.clear()),
        ("unasked", |world| world.script.singles.clear()),
    ];
    for (what, doctor) in table {
        assert_eq!(failing(doctor), ["Each Idempotency-Key made one message"], "{what}");
    }
}

#[test]
fn too_few_delivered_are_noticed_whatever_the_file_says() {
    let undelivered = |world: &mut World| {
        world.twilio.messages.get_mut("SM6").unwrap().status = "sent".to_owned();
    };
    assert_eq!(failing(undelivered), ["At least 99 % of the deliverable are delivered"]);
    // Nobody is to be reached: nothing is shown.
    let nobody = |world: &mut World| world.script.people.clear();
    assert_eq!(failing(nobody), ["At least 99 % of the deliverable are delivered"]);
}

#[test]
fn a_callback_that_was_answered_and_not_kept_is_noticed() {
    assert_eq!(
        failing(|world| world.ours.receipts.clear()),
        ["Every status callback answered with 2xx is in the file"]
    );
    assert_eq!(
        failing(|world| world.ours.messages.get_mut(&1).unwrap().status = "sent".to_owned()),
        ["Whoever was told to have been reached counts as reached"]
    );
}

#[test]
fn words_that_are_not_kept_are_noticed_heard_or_not() {
    let heard = failing(|world| drop(world.ours.inbound.remove("SM-ben")));
    assert_eq!(
        heard,
        [
            "Every inbound webhook answered with 2xx is in the file",
            "Everything that people wrote is in the file, also while the server was dead"
        ]
    );
    let unheard = failing(|world| drop(world.ours.inbound.remove("SM-dan")));
    assert_eq!(unheard, ["Everything that people wrote is in the file, also while the server was dead"]);
}

#[test]
fn a_request_after_the_answer_to_a_stop_is_noticed() {
    let name = "Nobody got a request that began after their STOP was answered";
    assert_eq!(failing(|world| world.twilio.requests.push(request(1_600, BEN, 2, None))), [name]);
    // On its way when the answer was given.
    assert_eq!(failing(|world| world.twilio.requests.push(request(1_200, BEN, 2, None))), [""; 0]);
}

#[test]
fn marketing_after_the_start_that_followed_an_unheard_stop_is_noticed() {
    let name = "Nobody got marketing after the start that followed a STOP which nobody heard";
    assert_eq!(failing(|world| world.twilio.requests.push(request(3_200, DAN, 4, None))), [name]);
    // Before the start nobody could know; what is no marketing may go until the STOP is caught up with.
    assert_eq!(failing(|world| world.twilio.requests.push(request(2_500, DAN, 4, None))), [""; 0]);
    let code = |world: &mut World| {
        world.twilio.requests.push(request(3_200, DAN, 4, None));
        world.ours.messages.get_mut(&4).unwrap().kind = "transactional".to_owned();
    };
    assert_eq!(failing(code), [""; 0]);
}

#[test]
fn a_stop_too_young_for_a_late_list_counts_from_the_start_after() {
    let name = "Nobody got marketing after the start that followed a STOP which nobody heard";
    let late = |at: i64, from: i64| {
        move |world: &mut World| {
            world.script.late_lists = vec![(from, 9_000)];
            world.script.starts.push(Start { spawned_at: 9_500, ready_at: Some(9_600) });
            world.twilio.requests.push(request(at, DAN, 4, None));
        }
    };
    assert_eq!(failing(late(3_200, 2_500)), [""; 0]);
    assert_eq!(failing(late(9_700, 2_500)), [name]);
    // The list was not late then, or the STOP not young.
    assert_eq!(failing(late(3_200, 6_500)), [name]);
    let old = |world: &mut World| {
        late(3_200, 2_500)(world);
        world.script.words[1].sent_at = 1_400;
    };
    assert_eq!(failing(old), [name]);
}

#[test]
fn a_claim_while_stop_was_in_force_is_noticed_to_the_millisecond() {
    let name = "In the order of the file, nothing was claimed for anybody while stop was in force";
    let claim = |at: i64| move |world: &mut World| world.ours.messages.get_mut(&4).unwrap().attempts.push(at);
    assert_eq!(failing(claim(3_051)), [name]);
    assert_eq!(failing(claim(20_499)), [name]);
    assert_eq!(failing(claim(3_050)), [""; 0]);
    assert_eq!(failing(claim(20_500)), [""; 0]);
}

#[test]
fn a_last_word_that_does_not_count_is_noticed() {
    let name = "The last STOP or START of each person is what the file says";
    assert_eq!(failing(|world| drop(world.ours.consents.remove(BEN))), [name]);
    // Dan's START was lost. Shortly after a STOP that nobody heard, it may count as the earlier word.
    let undone = |start: i64| {
        move |world: &mut World| {
            world.script.words[2].sent_at = start;
            world.twilio.requests.retain(|request| request.phone != DAN);
            world.ours.messages.get_mut(&4).unwrap().attempts.clear();
            world.ours.consents.get_mut(DAN).unwrap().pop();
        }
    };
    assert_eq!(failing(undone(20_000)), [""; 0]);
    assert_eq!(failing(undone(63_000)), [name]);
    let heard = |world: &mut World| {
        undone(20_000)(world);
        world.script.words[1].answered_at = Some(2_010);
    };
    assert_eq!(failing(heard), [name]);
}

#[test]
fn what_is_left_open_and_what_verify_finds_is_noticed() {
    let open = "Every campaign is finished, and nothing is queued, sending or uncertain";
    let running = |world: &mut World| drop(world.ours.campaigns.insert(1, "running".to_owned()));
    assert_eq!(failing(running), [open]);
    let sending = |world: &mut World| world.ours.messages.get_mut(&2).unwrap().status = "sending".to_owned();
    assert_eq!(failing(sending), [open]);
    assert_eq!(
        failing(|world| world.ours.problems.push("a count differs".to_owned())),
        ["ese verify: counts equal a recount, the consent chain and the file are whole"]
    );
}

#[test]
fn a_kill_without_a_start_is_noticed() {
    assert_eq!(
        failing(|world| world.script.starts[1].ready_at = None),
        ["After every kill the server came back"]
    );
}

#[test]
fn examples_are_few_and_say_how_many_more_there_are() {
    let faults = (0..8).map(|n| n.to_string()).collect();
    let check = Check { name: "", numbers: String::new(), faults };
    assert_eq!(check.examples(), ["0", "1", "2", "3", "4", "and 3 more"]);
}
