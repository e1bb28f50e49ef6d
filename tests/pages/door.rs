//! Who comes in: login, second factor, setup link, sessions, roles, and forms of other sites.

use std::collections::HashMap;

use event_stream_engine::clock::Clock;
use event_stream_engine::domain::password::Password;
use event_stream_engine::domain::second_factor::Authenticator;
use event_stream_engine::store::operators::{self, NewOperator, Role};
use event_stream_engine::store::{Store, StoreError, Tx, events, one_time_links, second_factors, sessions};
use event_stream_engine::web::admin::ROUTES;
use reqwest::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use secrecy::ExposeSecret;

use crate::support::api::TestApp;

const PASSWORD: &str = "correct horse battery";
const MINUTE: i64 = 60_000;

/// A browser, as far as the door sees it: it keeps cookies, follows nothing by itself, and may say where a form comes
/// from.
struct Browser {
    base: String,
    client: reqwest::Client,
    cookies: HashMap<String, String>,
    headers: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Seen {
    status: u16,
    text: String,
    location: String,
    set_cookie: String,
    retry_after: Option<u64>,
}

impl Seen {
    fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let rest = self.text.split(&mark).nth(1).unwrap_or_else(|| panic!("no {name} in {}", self.text));
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Browser {
    fn new(app: &TestApp) -> Browser {
        Browser::at(&app.base)
    }

    fn at(base: &str) -> Browser {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Browser { base: base.to_owned(), client, cookies: HashMap::new(), headers: Vec::new() }
    }

    async fn send(&mut self, mut request: reqwest::RequestBuilder) -> Seen {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies.join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        let mut set = String::new();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value.is_empty() {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
            if name.ends_with("ese_session") {
                set = cookie.to_owned();
            }
        }
        let text_of = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        Seen {
            status: answer.status().as_u16(),
            location: text_of(LOCATION).unwrap_or_default(),
            retry_after: text_of(RETRY_AFTER).map(|seconds| seconds.parse().unwrap()),
            set_cookie: set,
            // Slashes stand as references; what would be markup stays as it came.
            text: answer.text().await.unwrap().replace("&#x2f;", "/").replace("&amp;", "&"),
        }
    }

    async fn get(&mut self, path: &str) -> Seen {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        self.send(self.client.post(format!("{}{path}", self.base)).form(fields)).await
    }

    /// Posts a form with the hidden fields that the pages of this session have.
    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let page = self.get("/admin/settings/profile").await;
        let (csrf, once) = (page.hidden("_csrf"), page.hidden("_once"));
        let mut all = vec![("_csrf", csrf.as_str()), ("_once", once.as_str())];
        all.extend_from_slice(fields);
        self.post(path, &all).await
    }

    async fn log_in(&mut self, email: &str, password: &str) -> Seen {
        self.post("/admin/login", &[("email", email), ("password", password)]).await
    }

    async fn is_in(&mut self) -> bool {
        self.get("/admin/settings/profile").await.status == 200
    }

    fn session(&self) -> Option<&String> {
        self.cookies.get("ese_session")
    }
}

async fn write<T: Send + 'static>(
    app: &TestApp,
    change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    app.store.write(change).await.unwrap()
}

/// Adds somebody with [`PASSWORD`].
async fn add(app: &TestApp, email: &str, role: Role) -> i64 {
    let hash = Password::choose(PASSWORD, email).unwrap().hash().unwrap();
    let new = NewOperator { email: email.to_owned(), password_hash: Some(hash), role };
    write(app, move |tx| operators::add(tx, &new, "test")).await.unwrap()
}

async fn house() -> (TestApp, i64) {
    let app = TestApp::start().await;
    add(&app, "root@example.com", Role::Admin).await;
    let ana = add(&app, "ana@example.com", Role::Admin).await;
    (app, ana)
}

fn told(app: &TestApp, kind: &str) -> Vec<serde_json::Value> {
    let (events, _) = app.store.read_here(|conn| events::list_after(conn, 0, &[], 1_000)).unwrap();
    events.into_iter().filter(|event| event.kind == kind).map(|event| event.data).collect()
}

/// Sets a second factor up and returns its recovery codes.
async fn second_factor(app: &TestApp, id: i64) -> Vec<String> {
    write(app, move |tx| second_factors::begin(tx, id)).await;
    let code = code(app, id);
    write(app, move |tx| second_factors::confirm(tx, id, &code, "test")).await.unwrap()
}

fn code(app: &TestApp, id: i64) -> String {
    let (secret, _) =
        app.store.read_here(|conn| second_factors::secret(conn, app.store.key(), id)).unwrap().unwrap();
    Authenticator::new(&secret, "ana@example.com").unwrap().code_at(app.clock.now())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_lets_in_and_leads_to_where_one_was_going() {
    let (app, _) = house().await;
    let mut browser = Browser::new(&app);
    let away = browser.get("/admin/settings/operators?x=1").await;
    assert_eq!(
        (away.status, away.location.as_str()),
        (303, "/admin/login?next=%2Fadmin%2Fsettings%2Foperators%3Fx%3D1")
    );
    let form = browser.get(&away.location).await;
    let next = form.hidden("next");
    let inside = browser
        .post("/admin/login", &[("email", " ANA@example.com "), ("password", PASSWORD), ("next", &next)])
        .await;
    assert_eq!((inside.status, inside.location.as_str()), (303, "/admin/settings/operators?x=1"));
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
        assert!(inside.set_cookie.contains(part), "{part} in {}", inside.set_cookie);
    }
    assert!(browser.is_in().await);
    let login = &told(&app, "admin.login")[0];
    assert_eq!((login["actor"].as_str(), login["address"].as_str()), (Some("operator:2"), Some("127.0.0.1")));
    let out = browser.submit("/admin/logout", &[]).await;
    assert_eq!(out.location, "/admin/login");
    assert!(!browser.is_in().await && browser.session().is_none());
    assert_eq!(told(&app, "admin.logout").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_https_the_cookie_is_bound_to_the_host_and_sent_over_https_alone() {
    let app = TestApp::with_config("[server]\npublic_base_url = \"https://ese.example.com\"\n").await;
    add(&app, "ana@example.com", Role::Admin).await;
    let mut browser = Browser::new(&app);
    let inside = browser.log_in("ana@example.com", PASSWORD).await;
    assert!(inside.set_cookie.starts_with("__Host-ese_session="), "{}", inside.set_cookie);
    for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(inside.set_cookie.contains(part), "{part} in {}", inside.set_cookie);
    }
    assert!(!inside.set_cookie.contains("Domain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_wrong_and_disabled_get_the_same_answer_and_no_password_is_kept() {
    let (app, ana) = house().await;
    let mut browser = Browser::new(&app);
    let wrong = browser.log_in("ana@example.com", "a wrong password").await;
    assert_eq!(wrong.status, 422);
    assert!(
        wrong.text.contains("do not belong together") && wrong.text.contains("ana@example.com"),
        "{}",
        wrong.text
    );
    let unknown = browser.log_in("correct horse battery", "a wrong password").await;
    let off = write(&app, move |tx| operators::set_enabled(tx, ana, false, "test")).await;
    assert_eq!(off, operators::Change::Made);
    let disabled = browser.log_in("ana@example.com", PASSWORD).await;
    let bare = |seen: &Seen| seen.text.replace("ana@example.com", "").replace("correct horse battery", "");
    assert_eq!(bare(&wrong), bare(&unknown));
    assert_eq!(bare(&wrong), bare(&disabled));
    let failed = told(&app, "admin.login_failed");
    let reasons: Vec<_> =
        failed.iter().map(|data| (data["operator_id"].as_i64(), data["reason"].as_str().unwrap())).collect();
    assert_eq!(reasons, [(Some(2), "password"), (None, "password"), (Some(2), "disabled")]);
    let all = format!("{failed:?}");
    assert!(!all.contains("wrong password") && !all.contains("horse"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_there_is_not_takes_as_long_as_one_that_there_is() {
    let (app, _) = house().await;
    let mut browser = Browser::new(&app);
    let mut took = HashMap::new();
    for round in 0..5 {
        for (name, email) in [("known", "ana@example.com"), ("unknown", "nobody@example.com")] {
            // The limits are not what is measured here.
            app.clock.advance(10 * MINUTE);
            let began = std::time::Instant::now();
            assert_eq!(browser.log_in(email, "a wrong password").await.status, 422);
            if round > 0 {
                took.entry(name).or_insert_with(Vec::new).push(began.elapsed());
            }
        }
    }
    let least = |name: &str| took[name].iter().min().unwrap().as_secs_f64();
    let ratio = least("unknown") / least("known");
    assert!((0.5..2.0).contains(&ratio), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_the_answer_says_for_how_long() {
    let (app, _) = house().await;
    let mut browser = Browser::new(&app);
    for _ in 0..5 {
        assert_eq!(browser.log_in("ana@example.com", "a wrong password").await.status, 422);
    }
    let refused = browser.log_in("Ana@Example.com", PASSWORD).await;
    assert_eq!((refused.status, refused.retry_after), (429, Some(30)));
    assert!(refused.text.contains("Too many tries") && refused.session_is_none(), "{}", refused.text);
    // Somebody who is not there is refused alike.
    for _ in 0..5 {
        assert_eq!(browser.log_in("nobody@example.com", "a wrong password").await.status, 422);
    }
    assert_eq!(browser.log_in("nobody@example.com", "x").await.retry_after, Some(30));
    // From elsewhere she comes in: a stranger locks nobody out.
    let mut elsewhere = Browser::new(&app);
    elsewhere.headers.push(("x-forwarded-for", "198.51.100.7".to_owned()));
    assert_eq!(elsewhere.log_in("ana@example.com", PASSWORD).await.status, 303);
    app.clock.advance(30_000);
    assert_eq!(browser.log_in("ana@example.com", PASSWORD).await.status, 303);
}

impl Seen {
    fn session_is_none(&self) -> bool {
        self.set_cookie.is_empty()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_planted_is_not_the_one_that_comes_in() {
    let (app, ana) = house().await;
    let planted = write(&app, |tx| sessions::begin(tx, 1)).await.expose_secret().to_owned();
    let mut browser = Browser::new(&app);
    for token in ["made-up-by-a-stranger", &planted] {
        browser.cookies.insert("ese_session".to_owned(), token.to_owned());
        assert_eq!(browser.log_in("ana@example.com", PASSWORD).await.status, 303);
        assert_ne!(browser.session().unwrap(), token);
    }
    let now = app.clock.now();
    let old = app.store.read_here(|conn| sessions::find(conn, &planted, now)).unwrap();
    assert!(old.is_none(), "the planted one is over");
    assert_eq!(app.store.read_here(|conn| sessions::list(conn, ana, now)).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_and_each_code_lets_in_once() {
    let (app, ana) = house().await;
    let codes = second_factor(&app, ana).await;
    let mut browser = Browser::new(&app);
    let asked = browser.log_in("ana@example.com", PASSWORD).await;
    assert!(
        asked.status == 200 && asked.session_is_none() && asked.text.contains("totp_code"),
        "{}",
        asked.text
    );
    assert!(!browser.is_in().await, "half of it is nothing");
    let ticket = asked.hidden("login_token");
    app.clock.advance(30_000);
    let right = code(&app, ana);
    let wrong = browser.post("/admin/login", &[("login_token", &ticket), ("totp_code", "000000")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("wrong or was used"), "{}", wrong.text);
    let fields = [("login_token", ticket.as_str()), ("totp_code", right.as_str()), ("next", "/admin/users")];
    let inside = browser.post("/admin/login", &fields).await;
    assert_eq!((inside.status, inside.location.as_str()), (303, "/admin/users"));
    assert_eq!(told(&app, "admin.login")[0]["second_factor"], "totp");
    let again = Browser::new(&app).post("/admin/login", &fields).await;
    assert!(again.status == 422 && again.session_is_none(), "the same code again: {}", again.text);
    let lost =
        Browser::new(&app).post("/admin/login", &[("login_token", &ticket), ("totp_code", &codes[0])]).await;
    assert_eq!(lost.status, 303);
    let twice =
        Browser::new(&app).post("/admin/login", &[("login_token", &ticket), ("totp_code", &codes[0])]).await;
    assert_eq!(twice.status, 422);
    // Five codes in a row, wrong or not, and then one a minute.
    let much =
        Browser::new(&app).post("/admin/login", &[("login_token", &ticket), ("totp_code", &codes[1])]).await;
    assert_eq!((much.status, much.retry_after), (429, Some(60)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_between_password_and_code_holds_five_minutes_and_for_that_password() {
    let (app, ana) = house().await;
    let codes = second_factor(&app, ana).await;
    let mut browser = Browser::new(&app);
    let ticket = browser.log_in("ana@example.com", PASSWORD).await.hidden("login_token");
    app.clock.advance(5 * MINUTE);
    let late = browser.post("/admin/login", &[("login_token", &ticket), ("totp_code", &codes[0])]).await;
    assert!(
        late.status == 422 && late.text.contains("five minutes") && late.text.contains("name=\"password\""),
        "{}",
        late.text
    );
    let ticket = browser.log_in("ana@example.com", PASSWORD).await.hidden("login_token");
    app.clock.advance(1);
    let hash = Password::choose("another horse battery", "a@b.c").unwrap().hash().unwrap();
    let _ = write(&app, move |tx| operators::set_password(tx, ana, &hash, "test")).await;
    for ticket in [ticket.as_str(), "nonsense", ""] {
        let seen = browser.post("/admin/login", &[("login_token", ticket), ("totp_code", &codes[0])]).await;
        assert!(seen.status == 422 && seen.session_is_none(), "{ticket}");
    }
    assert_eq!(
        app.store.read_here(|conn| second_factors::codes_left(conn, ana)).unwrap(),
        10,
        "none was used up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_to_no_other_site() {
    let (app, _) = house().await;
    for next in [
        "https://evil.example/",
        "//evil.example/admin",
        "/admin.evil",
        "/admin/\\evil",
        "/admin/\r\nx:y",
        "/api/docs",
    ] {
        let mut browser = Browser::new(&app);
        app.clock.advance(MINUTE);
        let fields = [("email", "ana@example.com"), ("password", PASSWORD), ("next", next)];
        assert_eq!(browser.post("/admin/login", &fields).await.location, "/admin", "{next:?}");
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let already = browser.get(&format!("/admin/login?{query}")).await;
        assert_eq!((already.status, already.location.as_str()), (303, "/admin"), "{next:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_the_first_start_makes_one_admin_once_and_within_a_day() {
    let app = TestApp::start().await;
    let token = write(&app, |tx| one_time_links::insert(tx, None)).await;
    let path = format!("/admin/setup/{}", token.expose_secret());
    let mut browser = Browser::new(&app);
    for _ in 0..3 {
        assert_eq!(browser.get(&path).await.status, 200, "looking uses nothing up");
    }
    let again = ("password_again", PASSWORD);
    for (fields, fault) in [
        (vec![("email", "ana"), ("password_new", PASSWORD), again], "no e-mail address"),
        (
            vec![("email", "ana@example.com"), ("password_new", "short"), ("password_again", "short")],
            "12 to 256",
        ),
        (
            vec![("email", "ana@example.com"), ("password_new", PASSWORD), ("password_again", "other")],
            "differ",
        ),
    ] {
        let seen = browser.post(&path, &fields).await;
        assert!(seen.status == 422 && seen.text.contains(fault), "{fault}: {}", seen.text);
        assert!(!seen.text.contains(PASSWORD), "a password is never said again");
    }
    let fields = [("email", "ana@example.com"), ("password_new", PASSWORD), again];
    let (first, second) = {
        let mut other = Browser::new(&app);
        tokio::join!(browser.post(&path, &fields), other.post(&path, &fields))
    };
    let mut both = [first.status, second.status];
    both.sort_unstable();
    assert_eq!(both, [303, 410], "of two at once one comes in");
    let all = app.store.read_here(operators::list).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].role, all[0].email.as_str()), (Role::Admin, "ana@example.com"));
    let used = browser.get(&path).await;
    assert!(used.status == 410 && used.text.contains("used already"), "{}", used.text);
    assert_eq!(browser.get("/admin/setup/nonsense").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_over_after_a_day_and_once_somebody_can_log_in() {
    let app = TestApp::start().await;
    let token = write(&app, |tx| one_time_links::insert(tx, None)).await;
    let path = format!("/admin/setup/{}", token.expose_secret());
    let fields = [("email", "eve@example.com"), ("password_new", PASSWORD), ("password_again", PASSWORD)];
    let mut browser = Browser::new(&app);
    app.clock.advance(one_time_links::LASTS);
    assert_eq!(browser.post(&path, &fields).await.status, 410);
    let token = write(&app, |tx| one_time_links::insert(tx, None)).await;
    let path = format!("/admin/setup/{}", token.expose_secret());
    add(&app, "ana@example.com", Role::Admin).await;
    assert_eq!(browser.post(&path, &fields).await.status, 410);
    assert_eq!(app.store.read_here(operators::count).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_for_a_password_does_not_take_the_place_of_the_second_factor() {
    let (app, ana) = house().await;
    second_factor(&app, ana).await;
    let mut inside = Browser::new(&app);
    let token = write(&app, move |tx| sessions::begin(tx, ana)).await;
    inside.cookies.insert("ese_session".to_owned(), token.expose_secret().to_owned());
    assert!(inside.is_in().await);
    let link = write(&app, move |tx| one_time_links::insert(tx, Some(ana))).await;
    let path = format!("/admin/setup/{}", link.expose_secret());
    let mut browser = Browser::new(&app);
    assert!(browser.get(&path).await.text.contains("ana@example.com"));
    let fields = [("password_new", "another horse battery"), ("password_again", "another horse battery")];
    let set = browser.post(&path, &fields).await;
    assert_eq!((set.status, set.location.as_str()), (303, "/admin/login"));
    assert!(!browser.is_in().await && !inside.is_in().await, "every session ended");
    assert_eq!(browser.log_in("ana@example.com", PASSWORD).await.status, 422);
    assert!(browser.log_in("ana@example.com", "another horse battery").await.text.contains("totp_code"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_form_is_taken_without_the_hidden_field_of_its_session() {
    let (app, ana) = house().await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    let other = write(&app, move |tx| sessions::begin(tx, ana)).await;
    let mut second = Browser::new(&app);
    second.cookies.insert("ese_session".to_owned(), other.expose_secret().to_owned());
    let foreign = second.get("/admin/settings/profile").await.hidden("_csrf");
    let mut looked = 0;
    let before = app.store.read_here(events::newest_id).unwrap();
    for route in ROUTES.iter().filter(|route| route.method == "POST") {
        let path = format!("/admin{}", filled(route.path));
        for fields in
            [vec![], vec![("_csrf", "")], vec![("_csrf", "nonsense")], vec![("_csrf", foreign.as_str())]]
        {
            let seen = browser.post(&path, &fields).await;
            assert!(
                (400..500).contains(&seen.status) && seen.status != 422 && seen.status != 404,
                "{path} {fields:?}: {} {}",
                seen.status,
                seen.text
            );
        }
        looked += 1;
    }
    assert!(looked > 20, "the table was walked");
    let after = app.store.read_here(events::newest_id).unwrap();
    assert_eq!(before, after, "nothing happened");
    assert!(browser.is_in().await);
}

/// A path with something in its places.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_another_site_sends_is_refused_also_at_the_login() {
    let (app, _) = house().await;
    let token = write(&app, |tx| one_time_links::insert(tx, None)).await;
    let setup = format!("/admin/setup/{}", token.expose_secret());
    let own = app.base.clone();
    for (name, value, is_refused) in [
        ("sec-fetch-site", "cross-site", true),
        ("sec-fetch-site", "same-site", true),
        ("sec-fetch-site", "same-origin", false),
        ("sec-fetch-site", "none", false),
        ("origin", "https://evil.example", true),
        ("origin", "null", true),
        ("origin", own.as_str(), false),
    ] {
        let mut browser = Browser::new(&app);
        browser.headers.push((name, value.to_owned()));
        app.clock.advance(MINUTE);
        let fields = [("email", "ana@example.com"), ("password", PASSWORD)];
        let login = browser.post("/admin/login", &fields).await;
        assert_eq!(login.status == 403, is_refused, "{name} {value}: {}", login.status);
        assert_eq!(browser.post(&setup, &[]).await.status == 403, is_refused, "{name} {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_for_the_role_of_the_table_and_for_nobody_without_a_login() {
    let (app, _) = house().await;
    let mut stranger = Browser::new(&app);
    for role in Role::ALL {
        let id = add(&app, &format!("{}@example.com", role.as_str()), role).await;
        let token = write(&app, move |tx| sessions::begin(tx, id)).await;
        let mut browser = Browser::new(&app);
        browser.cookies.insert("ese_session".to_owned(), token.expose_secret().to_owned());
        for route in ROUTES {
            // Streams stay open.
            if route.path.starts_with("/live/") {
                continue;
            }
            let path = format!("/admin{}", filled(route.path));
            let (seen, outside) = match route.method {
                "GET" => (browser.get(&path).await, stranger.get(&path).await),
                // The hidden field is missing, so an allowed one is refused for that, and changes nothing.
                _ => (browser.post(&path, &[]).await, stranger.post(&path, &[]).await),
            };
            let is_for_more = seen.text.contains("This page is for");
            assert_eq!(
                is_for_more,
                role < route.role,
                "{} {path} as {}: {}",
                route.method,
                role.as_str(),
                seen.status
            );
            if is_for_more {
                assert_eq!(seen.status, 403);
            }
            assert_ne!(seen.status, 500, "{path}: {}", seen.text);
            match route.method {
                "GET" => assert!(
                    outside.status == 303 && outside.location.starts_with("/admin/login?next="),
                    "{path}"
                ),
                _ => assert_eq!(outside.status, 401, "{path}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_disabled_or_gets_another_role_is_out_with_the_next_click() {
    let (app, ana) = house().await;
    let mut root = Browser::new(&app);
    root.log_in("root@example.com", PASSWORD).await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    assert!(browser.is_in().await);
    let changed = root.submit(&format!("/admin/settings/operators/{ana}"), &[("role", "viewer")]).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert!(!browser.is_in().await);
    app.clock.advance(MINUTE);
    browser.log_in("ana@example.com", PASSWORD).await;
    assert_eq!(browser.get("/admin/settings/operators").await.status, 403);
    let disabled = root.submit(&format!("/admin/settings/operators/{ana}/disable"), &[]).await;
    assert_eq!(disabled.status, 303, "{}", disabled.text);
    assert!(!browser.is_in().await);
    // The last admin stays, and nobody does it to themselves.
    let own = root.submit("/admin/settings/operators/1/disable", &[]).await;
    assert!(own.status == 409 && own.text.contains("your own account"), "{}", own.text);
    assert!(root.is_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_access_ask_for_the_password_again_after_a_quarter_of_an_hour() {
    let (app, ana) = house().await;
    let mut root = Browser::new(&app);
    root.log_in("root@example.com", PASSWORD).await;
    app.clock.advance(sessions::PROOF_LIMIT);
    let path = format!("/admin/settings/operators/{ana}");
    let role = || app.store.read_here(|conn| operators::find(conn, ana)).unwrap().unwrap().role;
    let asked = root.submit(&path, &[("role", "viewer")]).await;
    assert!(asked.status == 403 && asked.text.contains("own_password"), "{}", asked.text);
    assert!(asked.text.contains("name=\"role\" value=\"viewer\""), "what was posted is kept: {}", asked.text);
    assert_eq!(role(), Role::Admin);
    let wrong = root.submit(&path, &[("role", "viewer"), ("own_password", "a wrong password")]).await;
    assert!(wrong.status == 403 && wrong.text.contains("not your password"), "{}", wrong.text);
    assert_eq!(role(), Role::Admin);
    let right = root.submit(&path, &[("role", "viewer"), ("own_password", PASSWORD)]).await;
    assert_eq!((right.status, role()), (303, Role::Viewer), "{}", right.text);
    let next = root.submit(&path, &[("role", "operator")]).await;
    assert_eq!((next.status, role()), (303, Role::Operator), "it counts for the next changes too");
    app.clock.advance(sessions::PROOF_LIMIT);
    for path in [
        "/admin/settings/operators".to_owned(),
        format!("{path}/disable"),
        format!("{path}/link"),
        format!("{path}/sign-out"),
        format!("{path}/second-factor/remove"),
        "/admin/settings/api-keys".to_owned(),
        "/admin/settings/profile/second-factor/begin".to_owned(),
        "/admin/settings/profile/second-factor/remove".to_owned(),
        "/admin/settings/profile/recovery-codes".to_owned(),
    ] {
        let seen = root.submit(&path, &[]).await;
        assert!(seen.status == 403 && seen.text.contains("own_password"), "{path}: {}", seen.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session_and_gives_this_one_a_new_token() {
    let (app, _) = house().await;
    let (mut here, mut there) = (Browser::new(&app), Browser::new(&app));
    here.log_in("ana@example.com", PASSWORD).await;
    there.log_in("ana@example.com", PASSWORD).await;
    let before = here.session().unwrap().clone();
    let path = "/admin/settings/profile/password";
    let new = ("password_new", "another horse battery");
    let again = ("password_again", "another horse battery");
    let wrong = here.submit(path, &[("password_now", "a wrong password"), new, again]).await;
    assert!(wrong.status == 422 && there.is_in().await, "{}", wrong.text);
    let changed = here.submit(path, &[("password_now", PASSWORD), new, again]).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_ne!(here.session().unwrap(), &before);
    assert!(here.is_in().await && !there.is_in().await);
    let mut old = Browser::new(&app);
    old.cookies.insert("ese_session".to_owned(), before);
    assert!(!old.is_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_set_up_with_its_first_code_and_codes_are_shown_once() {
    let (app, ana) = house().await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    let here = "/admin/settings/profile/second-factor";
    assert_eq!(browser.get(here).await.status, 303, "nothing was begun");
    assert_eq!(browser.submit(&format!("{here}/begin"), &[]).await.location, here);
    let shown = browser.get(here).await;
    let (secret, _) =
        app.store.read_here(|conn| second_factors::secret(conn, app.store.key(), ana)).unwrap().unwrap();
    assert!(shown.text.replace(' ', "").contains(secret.expose_secret()), "{}", shown.text);
    assert!(shown.text.contains("class=\"qr\""), "{}", shown.text);
    let wrong = browser.submit(here, &[("totp_code", "000000")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("class=\"qr\""), "{}", wrong.text);
    let before = browser.session().unwrap().clone();
    let on = browser.submit(here, &[("totp_code", &code(&app, ana))]).await;
    assert!(on.status == 200 && on.text.matches("<li>").count() >= 10, "{}", on.text);
    assert_ne!(browser.session().unwrap(), &before, "the session begins anew");
    assert_eq!(browser.get(here).await.status, 303, "the secret is not shown any more");
    app.clock.advance(sessions::PROOF_LIMIT);
    let page = browser.get("/admin/settings/profile").await;
    assert!(page.text.contains("10 of 10 recovery codes"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_keys_links_and_endpoints_are_shown_once() {
    let (app, _) = house().await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    let page = browser.get("/admin/settings/api-keys/new").await;
    let (csrf, once) = (page.hidden("_csrf"), page.hidden("_once"));
    let fields = [
        ("_csrf", csrf.as_str()),
        ("_once", &once),
        ("name", "<b>shop</b>"),
        ("scopes", "read"),
        ("scopes", "send"),
        ("days", "30"),
    ];
    let made = browser.post("/admin/settings/api-keys", &fields).await;
    assert!(made.status == 200 && made.text.contains("value=\"ese_"), "{}", made.text);
    let again = browser.post("/admin/settings/api-keys", &fields).await;
    assert!(again.text.contains("shown already") && !again.text.contains("value=\"ese_"), "{}", again.text);
    let list = browser.get("/admin/settings/api-keys").await;
    assert!(list.text.contains("&lt;b&gt;shop&lt;") && !list.text.contains("<b>shop"), "{}", list.text);
    assert_eq!(list.text.matches("shop").count(), 2, "a double click makes one: {}", list.text);
    let none = browser.submit("/admin/settings/api-keys", &[("name", "kept"), ("days", "x")]).await;
    assert!(none.status == 422 && none.text.contains("value=\"kept\""), "{}", none.text);
    let invited = browser
        .submit("/admin/settings/operators", &[("email", "new@example.com"), ("role", "viewer")])
        .await;
    let link = invited.text.split("/admin/setup/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let opened = Browser::new(&app).get(&format!("/admin/setup/{link}")).await;
    assert!(opened.text.contains("new@example.com"), "{}", opened.text);
    let taken = browser
        .submit("/admin/settings/operators", &[("email", "NEW@example.com"), ("role", "viewer")])
        .await;
    assert!(taken.status == 422 && taken.text.contains("already"), "{}", taken.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_key_that_makes_keys_is_not_revoked_on_a_page_either() {
    let (app, _) = house().await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    let seen = browser.submit("/admin/settings/api-keys/1/revoke", &[]).await;
    assert!(seen.status == 409 && seen.text.contains("last key"), "{}", seen.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_added_changed_tried_and_removed() {
    let app = TestApp::with_config("[webhooks]\nallow_private = true\n").await;
    add(&app, "ana@example.com", Role::Admin).await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    let list = "/admin/settings/webhook-endpoints";
    let wrong = browser.submit(list, &[("url", "nonsense"), ("single_types", "message.flown")]).await;
    assert!(
        wrong.status == 422 && wrong.text.contains("no URL") && wrong.text.contains("e-single_types"),
        "{}",
        wrong.text
    );
    assert!(wrong.text.contains("message.flown"), "the input is kept");
    let fields = [
        ("url", "http://127.0.0.1:9/x"),
        ("types", "alert.*"),
        ("single_types", "message.failed, consent.changed"),
    ];
    let made = browser.submit(list, &fields).await;
    assert!(made.status == 200 && made.text.contains("value=\"whsec_"), "{}", made.text);
    let one = format!("{list}/1");
    let page = browser.get(&one).await;
    assert!(
        page.text.contains("value=\"alert.*\" checked")
            && page.text.contains("message.failed consent.changed"),
        "{}",
        page.text
    );
    let tried = browser.submit(&format!("{one}/test"), &[]).await;
    assert_eq!(tried.status, 303, "{}", tried.text);
    let delivery = browser.get(&tried.location).await;
    assert!(
        delivery.text.contains("webhook.tested") && delivery.text.contains("Pending"),
        "{}",
        delivery.text
    );
    let resent = browser.submit(&format!("{}/resend", tried.location), &[]).await;
    assert_eq!(resent.status, 303, "{}", resent.text);
    assert!(browser.get(&format!("{one}?status=failed")).await.text.contains("No delivery has this status"));
    assert_eq!(browser.submit(&format!("{one}/switch"), &[]).await.status, 303);
    assert!(browser.get(&one).await.text.contains("Disabled by operator:1."));
    let refused = browser.submit(&format!("{one}/test"), &[]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    let renewed = browser.submit(&format!("{one}/rotate"), &[]).await;
    assert!(renewed.text.contains("value=\"whsec_"), "{}", renewed.text);
    assert_eq!(browser.get(&format!("{one}/remove")).await.status, 200);
    assert_eq!(browser.submit(&format!("{one}/remove"), &[]).await.location, list);
    assert_eq!(browser.get(&one).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_says_who_did_what_and_can_be_filtered() {
    let (app, ana) = house().await;
    let mut root = Browser::new(&app);
    root.log_in("root@example.com", PASSWORD).await;
    root.submit(&format!("/admin/settings/operators/{ana}"), &[("role", "viewer")]).await;
    Browser::new(&app).log_in("<script>alert(1)</script>", "x").await;
    let page = root.get("/admin/settings/audit").await;
    for part in [
        "Changed the role of an operator",
        "<del>admin</del> → <ins>viewer</ins>",
        "Did not get in",
        "root@example.com",
    ] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    assert!(!page.text.contains("<script>alert"));
    let own = root.get("/admin/settings/audit?who=operator:1&what=admin&from=2026-11-23&to=2026-11-23").await;
    assert!(own.text.contains("Changed the role") && !own.text.contains("Did not get in"), "{}", own.text);
    assert!(root.get("/admin/settings/audit?from=2026-11-24").await.text.contains("No act fits"));
    assert_eq!(root.get("/admin/settings/audit?what=nonsense").await.status, 422);
    assert_eq!(root.get("/admin/settings/audit?from=yesterday").await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_are_kept_and_hold_on_every_page() {
    let (app, _) = house().await;
    let mut browser = Browser::new(&app);
    browser.log_in("ana@example.com", PASSWORD).await;
    let here = "/admin/settings/profile";
    let wrong = browser.submit(here, &[("zone", "Mars/Olympus"), ("theme", "dark")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("Mars/Olympus"), "{}", wrong.text);
    assert_eq!(browser.submit(here, &[("zone", "america/los_angeles"), ("theme", "dark")]).await.status, 303);
    let page = browser.get("/admin").await;
    assert!(
        page.text.contains("data-theme=\"dark\"") && page.text.contains("data-shortcuts=\"off\""),
        "{}",
        page.text
    );
    assert!(page.text.contains("PST"), "times are in the zone that was chosen");
}
