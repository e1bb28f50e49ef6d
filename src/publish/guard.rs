//! The guard at the door: a name may lead to other addresses at the moment of a request than when its URL was
//! set. So the addresses are checked where the connection is made, and only the good ones are handed on.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Settings;
use crate::domain::webhook::address::Policy;
use crate::live::Live;

/// How long a name may take when its URL is set; what takes longer is checked at the first request.
const PATIENCE: Duration = Duration::from_secs(3);

/// The way from a name to its addresses. It blocks.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// The system's own way.
pub fn system_lookup() -> Lookup {
    Arc::new(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

/// Whether a URL may be set: by itself, and by where its name leads at this moment. A name that leads nowhere
/// yet is let through.
///
/// # Errors
/// A sentence for whoever set it.
pub async fn check_url(policy: &Policy, url: &Url, lookup: Lookup) -> Result<(), String> {
    policy.check(url)?;
    let Some(Host::Domain(name)) = url.host() else {
        return Ok(());
    };
    let (policy, name) = (policy.clone(), name.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let addresses = lookup(&name).unwrap_or_default();
        addresses.into_iter().try_for_each(|address| policy.check_address(&name, address))
    });
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(checked)) => checked,
        _ => Ok(()),
    }
}

/// Hands on those addresses of a name that may be called.
pub(super) struct Guard {
    pub(super) settings: Live<Settings>,
    pub(super) lookup: Lookup,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (settings, lookup) = (self.settings.get(), Arc::clone(&self.lookup));
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let allowed =
                tokio::task::spawn_blocking(move || allowed(&settings.policy, &name, &lookup)).await??;
            let addresses: Addrs = Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn allowed(policy: &Policy, name: &str, lookup: &Lookup) -> io::Result<Vec<IpAddr>> {
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in lookup(name)? {
        match policy.check_address(name, address) {
            Ok(()) => allowed.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match refused {
        Some(why) if allowed.is_empty() => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        _ => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads_to(addresses: &'static [&'static str]) -> Lookup {
        Arc::new(|_| Ok(addresses.iter().map(|text| text.parse().unwrap()).collect()))
    }

    #[test]
    fn of_the_addresses_of_a_name_only_public_ones_are_handed_on() {
        let policy = Policy::default();
        let kept = |addresses| allowed(&policy, "example.com", &leads_to(addresses)).map(|all| all.len());
        assert_eq!(kept(&["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]).unwrap(), 2);
        assert_eq!(kept(&["93.184.216.34", "10.0.0.1"]).unwrap(), 1);
        assert_eq!(kept(&["10.0.0.1", "::1"]).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(kept(&[]).unwrap(), 0);
        let open = Policy { allow_private: true, ..Policy::default() };
        assert_eq!(allowed(&open, "example.com", &leads_to(&["::1"])).unwrap().len(), 1);
    }

    #[actix_web::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_set() {
        let url = Url::parse("https://hooks.example.com/").unwrap();
        let check = async |addresses| check_url(&Policy::default(), &url, leads_to(addresses)).await;
        assert!(check(&["93.184.216.34"]).await.is_ok());
        assert!(check(&["93.184.216.34", "127.0.0.1"]).await.unwrap_err().contains("127.0.0.1"));
        assert!(check(&[]).await.is_ok());
        let nowhere: Lookup = Arc::new(|_| Err(io::Error::other("no such name")));
        assert!(check_url(&Policy::default(), &url, nowhere).await.is_ok());
        let plain = Url::parse("http://hooks.example.com/").unwrap();
        assert!(check_url(&Policy::default(), &plain, leads_to(&[])).await.is_err());
    }

    #[actix_web::test]
    async fn the_systems_own_lookup_of_localhost_leads_inside() {
        let error = allowed(&Policy::default(), "localhost", &system_lookup()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
