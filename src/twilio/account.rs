//! Questions about the account itself: do the credentials fit, and is a number one of its own?
//! <https://www.twilio.com/docs/iam/api/account>,
//! <https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource>

use serde::Deserialize;

use super::client::Client;
use super::lookup::LookupError;

/// What Twilio says about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSeen {
    /// For people.
    pub name: String,
    /// `active`, `suspended` or `closed`.
    pub status: String,
    /// Twilio's clock as it answered, in milliseconds, to the second.
    pub answered_at: Option<i64>,
}

#[derive(Deserialize)]
struct Account {
    status: String,
    #[serde(default)]
    friendly_name: Option<String>,
}

#[derive(Deserialize)]
struct Numbers {
    incoming_phone_numbers: Vec<Number>,
}

#[derive(Deserialize)]
struct Number {
    phone_number: String,
}

impl Client {
    /// The account: the cheapest question that proves the credentials.
    ///
    /// # Errors
    /// [`LookupError`]; refused with HTTP status 401 when the credentials don't fit.
    pub async fn look_at_account(&self) -> Result<AccountSeen, LookupError> {
        let (account, answered_at): (Account, _) = self.ask(self.account().clone()).await?;
        let name = account.friendly_name.unwrap_or_default();
        Ok(AccountSeen { name, status: account.status, answered_at })
    }

    /// Whether `number`, in E.164, is one of the account's own.
    ///
    /// # Errors
    /// [`LookupError`]; an API key may lack the right to ask.
    pub async fn owns_number(&self, number: &str) -> Result<bool, LookupError> {
        let base = self.account().as_str().trim_end_matches(".json");
        let unreadable = |_| LookupError::Unreadable("the address of the account".to_owned());
        let mut url = url::Url::parse(&format!("{base}/IncomingPhoneNumbers.json")).map_err(unreadable)?;
        url.query_pairs_mut().append_pair("PhoneNumber", number);
        let (listed, _): (Numbers, _) = self.ask(url).await?;
        Ok(listed.incoming_phone_numbers.iter().any(|one| one.phone_number == number))
    }
}
