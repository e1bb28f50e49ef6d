//! The catalogue against people who come, change and are erased.

use serde_json::{Map, Value, json};

use super::*;
use crate::clock::Clock;
use crate::store::attributes::AttributeRow;
use crate::store::users::{self, NewUser, UserKey};
use crate::store::{Connection, StorePaths, erasure};

struct Shop {
    _dir: tempfile::TempDir,
    store: Store,
    catalogue: Catalogue,
}

async fn shop(people: Vec<Value>) -> Shop {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
    let shop = Shop { _dir: dir, catalogue: Catalogue::new(store.clone()), store };
    add(&shop.store, 0, people).await;
    shop
}

async fn add(store: &Store, from: usize, people: Vec<Value>) {
    store
        .write::<_, _, StoreError>(move |tx| {
            for (index, person) in people.iter().enumerate() {
                let new = NewUser {
                    phone: Some(&format!("+1212{:07}", 5_550_000 + from + index)),
                    channel_address: None,
                    country: Some("US"),
                    attributes: person.as_object().unwrap(),
                    consent: None,
                    actor: "test",
                    import: None,
                };
                users::insert(tx, &new)?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

impl Shop {
    fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> T {
        self.store.read_here(query).unwrap()
    }

    fn attribute(&self, name: &str) -> Option<AttributeRow> {
        self.read(|conn| attributes::find(conn, name))
    }

    async fn erase(&self, id: i64) {
        self.store
            .write::<_, _, StoreError>(move |tx| {
                let user = users::find(tx.conn(), &UserKey::Id(id))?.unwrap();
                erasure::erase(tx, &user, "test")
            })
            .await
            .unwrap();
    }

    async fn change(&self, id: i64, attributes: Value) {
        self.store
            .write(move |tx| users::set_attributes(tx, id, attributes.as_object().unwrap(), "test"))
            .await
            .unwrap();
    }
}

fn three() -> Vec<Value> {
    vec![
        json!({"city": "Kandy", "email": "a@example.com", "visits": 3}),
        json!({"city": "Kandy", "email": "b@example.com"}),
        json!({"city": "Kandy", "email": "c@example.com"}),
        json!({"city": "Galle"}),
    ]
}

#[tokio::test]
async fn the_catalogue_equals_a_recount_and_says_how_far_behind_it_is() {
    let shop = shop(three()).await;
    assert_eq!(shop.read(attributes::standing).as_of, None);
    shop.catalogue.walk_through().await.unwrap();
    let standing = shop.read(attributes::standing);
    assert_eq!((standing.people, standing.behind, standing.is_cut), (4, 0, false));
    assert!(standing.as_of.is_some());
    let rows = shop.read(|conn| attributes::list(conn, 50, 0));
    let told: Vec<(&str, i64)> = rows.iter().map(|row| (row.name.as_str(), row.people)).collect();
    assert_eq!(told, [("city", 4), ("email", 3), ("visits", 1)]);
    assert_eq!(rows[0].values, [("Kandy".to_owned(), 3)]);
    assert_eq!(rows[0].examples, ["Kandy", "Galle"]);
    assert_eq!(rows[2].kinds.number, 1);

    shop.change(4, json!({"town": "Galle"})).await;
    assert_eq!(shop.read(attributes::standing).behind, 1);
    shop.catalogue.tick().await.unwrap();
    assert_eq!(shop.read(attributes::standing).behind, 0);
    assert_eq!(shop.attribute("city").unwrap().people, 3);
    assert_eq!(shop.attribute("town").unwrap().people, 1);
    shop.change(4, json!({})).await;
    shop.catalogue.walk_through().await.unwrap();
    assert_eq!(shop.attribute("town"), None, "a name that nobody has is forgotten");
}

#[tokio::test]
async fn nothing_is_walked_when_nobody_changed() {
    let shop = shop(three()).await;
    shop.catalogue.walk_through().await.unwrap();
    let first = shop.read(attributes::standing).as_of;
    shop.store.clock().advance(60_000);
    shop.catalogue.walk_through().await.unwrap();
    shop.catalogue.tick().await.unwrap();
    assert_eq!(shop.read(attributes::standing).as_of, first);
}

#[tokio::test]
async fn values_of_somebody_erased_vanish_at_once() {
    let shop = shop(three()).await;
    shop.catalogue.walk_through().await.unwrap();
    shop.erase(1).await;
    let email = shop.attribute("email").unwrap();
    assert_eq!(email.examples, ["b@example.com", "c@example.com"]);
    let city = shop.attribute("city").unwrap();
    assert_eq!((city.values, city.examples), (vec![], vec!["Galle".to_owned()]), "two people share it now");
    assert!(shop.read(|conn| attributes::values(conn, "email", "a@", 10)).is_empty());
}

#[tokio::test]
async fn values_of_somebody_erased_during_the_walk_never_come_in() {
    let shop = shop(three()).await;
    let mut walk = shop.catalogue.begin().await.unwrap().unwrap();
    while shop.catalogue.step(&mut walk).await.unwrap() {}
    shop.erase(1).await;
    shop.catalogue.keep(walk).await.unwrap();
    assert_eq!(shop.attribute("email").unwrap().examples, ["b@example.com", "c@example.com"]);
    assert_eq!(shop.attribute("city").unwrap().values, []);
    assert_eq!(shop.read(attributes::standing).behind, 1, "the next walk counts without them");
}

#[tokio::test]
async fn names_and_values_are_suggested_by_what_was_typed() {
    let mut people = three();
    people.extend((0..5).map(|_| json!({"city": "Colombo", "kandy_visits": 1})));
    let shop = shop(people).await;
    shop.catalogue.walk_through().await.unwrap();
    let names = |part: &str| -> Vec<String> {
        shop.read(|conn| attributes::names(conn, part, 10)).into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(names("VISIT"), ["kandy_visits", "visits"]);
    assert_eq!(names(""), ["city", "kandy_visits", "email", "visits"]);
    let values = |start: &str| shop.read(|conn| attributes::values(conn, "city", start, 10));
    assert_eq!(values(""), ["Colombo", "Kandy", "Galle"]);
    assert_eq!(values("ka"), ["Kandy"]);
    assert_eq!(values("%"), Vec::<String>::new());
    assert_eq!(shop.read(|conn| attributes::values(conn, "city", "", 1)), ["Colombo"]);
}

#[tokio::test]
async fn a_walk_reads_people_by_their_key_and_holds_a_reader_for_few_of_them() {
    let people = (0..1_200).map(|n| json!({"city": "Kandy", format!("name {n}"): n})).collect();
    let shop = shop(people).await;
    let mut walk = shop.catalogue.begin().await.unwrap().unwrap();
    let mut steps = 1;
    while shop.catalogue.step(&mut walk).await.unwrap() {
        steps += 1;
    }
    assert_eq!((steps, walk.count.people()), (3, 1_200));
    shop.catalogue.keep(walk).await.unwrap();
    let standing = shop.read(attributes::standing);
    assert!(standing.is_cut && standing.people == 1_200);
    assert_eq!(shop.read(|conn| attributes::list(conn, 2_000, 0)).len(), 1_000);
    let gone: Map<String, Value> = Map::new();
    for id in 1..=1_200 {
        let gone = gone.clone();
        shop.store.write(move |tx| users::set_attributes(tx, id, &gone, "test")).await.unwrap();
    }
    shop.catalogue.walk_through().await.unwrap();
    assert!(shop.read(|conn| attributes::list(conn, 2_000, 0)).is_empty());
}
