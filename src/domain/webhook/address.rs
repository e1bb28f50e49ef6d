//! Which addresses an outbound webhook may go to: an operator's key must not become a way into the network
//! behind this server. Checked when a URL is set, and again for each address that a name leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Longest URL, in characters.
pub const MAX_URL: usize = 2_000;

/// What is allowed beyond public addresses over https.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Any address, and plain http: for a network of one's own.
    pub allow_private: bool,
    /// The same for these hosts alone, as names or addresses.
    pub allowed_hosts: Vec<String>,
}

/// Networks that are not the public internet
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>).
const SPECIAL_V4: [&str; 19] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
];

/// Within 2000::/3, which is all that is routed
/// (<https://www.iana.org/assignments/iana-ipv6-special-registry>).
const SPECIAL_V6: [&str; 4] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

static V4: LazyLock<Vec<Ipv4Net>> =
    LazyLock::new(|| SPECIAL_V4.iter().map(|text| text.parse().expect("the table holds networks")).collect());
static V6: LazyLock<Vec<Ipv6Net>> =
    LazyLock::new(|| SPECIAL_V6.iter().map(|text| text.parse().expect("the table holds networks")).collect());
static ROUTED_V6: LazyLock<Ipv6Net> = LazyLock::new(|| "2000::/3".parse().expect("a network"));

/// True for an address of the public internet. Forms that carry an IPv4 address within an IPv6 one (mapped,
/// NAT64, 6to4, Teredo) are refused whole: no endpoint needs them, and each is a way around the list.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    ROUTED_V6.contains(&address) && !V6.iter().any(|net| net.contains(&address))
}

/// Names that never lead to the public internet (RFC 6761, 6762, 8375, and what clouds use).
const LOCAL_NAMES: [&str; 7] =
    ["localhost", "local", "internal", "intranet", "lan", "home.arpa", "localdomain"];

impl Policy {
    /// True when this host is free of the rules.
    pub fn allows(&self, host: &str) -> bool {
        let bare = |text: &str| {
            text.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
        };
        self.allow_private || self.allowed_hosts.iter().any(|allowed| bare(allowed) == bare(host))
    }

    /// Whether a URL may be called, as far as it tells by itself.
    ///
    /// # Errors
    /// A sentence for whoever set it.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        let host = url.host().ok_or("must have a host")?;
        let is_allowed = url.host_str().is_some_and(|host| self.allows(host));
        match url.scheme() {
            "https" => {}
            "http" if is_allowed => {}
            _ => return Err("must begin with https://".to_owned()),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user or a password; check the signature instead".to_owned());
        }
        if url.fragment().is_some() {
            return Err("must not have a fragment".to_owned());
        }
        if is_allowed {
            return Ok(());
        }
        match host {
            Host::Ipv4(address) => self.check_address("", address.into()),
            Host::Ipv6(address) => self.check_address("", address.into()),
            Host::Domain(name) => check_name(name),
        }
    }

    /// Whether an address may be called that `host` leads to.
    ///
    /// # Errors
    /// A sentence.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), String> {
        if is_public(address) || self.allows(host) {
            return Ok(());
        }
        Err(format!("{address} is not an address of the public internet"))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_local = LOCAL_NAMES
        .iter()
        .any(|local| name.strip_suffix(local).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    if is_local || !name.contains('.') {
        return Err(format!("{name} is not a name of the public internet"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(policy: &Policy, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| policy.check(&url).is_ok())
    }

    #[test]
    fn only_public_addresses_over_https_are_called() {
        let policy = Policy::default();
        for url in [
            "https://example.com/hook",
            "https://example.com:8443/hook?tenant=7",
            "https://93.184.216.34/",
            "https://[2606:2800:220:1:248:1893:25c8:1946]/",
            "https://localhost.example.com/",
            "https://mylocal.example/",
        ] {
            assert!(checked(&policy, url), "{url}");
        }
        for url in [
            "http://example.com/",
            "ftp://example.com/",
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://example.com/#there",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://router/",
            "https://router.lan/",
            "https://nas.home.arpa/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://10.1.2.3/",
            "https://172.31.255.255/",
            "https://192.168.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://100.100.1.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://198.19.0.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:93.184.216.34]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[64:ff9b:1::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001:0:7f00:1::]/",
            "https://[fc00::1]/",
            "https://[fd12:3456::1]/",
            "https://[fe80::1]/",
            "https://[fec0::1]/",
            "https://[ff02::1]/",
            "https://[100::1]/",
            "https://[2001:db8::1]/",
            "https://[5f00::1]/",
        ] {
            assert!(!checked(&policy, url), "{url}");
        }
    }

    #[test]
    fn an_allowed_host_is_free_and_no_other() {
        let policy = Policy {
            allowed_hosts: vec!["127.0.0.1".into(), "[::1]".into(), "Hooks.Local".into()],
            ..Policy::default()
        };
        for url in ["http://127.0.0.1:9000/x", "https://127.0.0.1/", "http://[::1]/", "http://hooks.local/"] {
            assert!(checked(&policy, url), "{url}");
        }
        for url in [
            "http://127.0.0.2/",
            "https://localhost/",
            "http://hooks.local.example.com/",
            "http://example.com/",
        ] {
            assert!(!checked(&policy, url), "{url}");
        }
        assert!(policy.check_address("hooks.local", "10.0.0.1".parse().unwrap()).is_ok());
        assert!(policy.check_address("example.com", "10.0.0.1".parse().unwrap()).is_err());
        assert!(checked(&Policy { allow_private: true, ..Policy::default() }, "http://10.0.0.1/"));
        assert!(!checked(&Policy { allow_private: true, ..Policy::default() }, "http://me@10.0.0.1/"));
    }
}
