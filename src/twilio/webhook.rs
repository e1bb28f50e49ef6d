//! The forms that Twilio posts: inbound messages and status callbacks.
//! <https://www.twilio.com/docs/messaging/guides/webhook-request>,
//! <https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks>

use std::str::FromStr;

/// Parameters in the order in which they came, unknown ones too.
pub type Params = Vec<(String, String)>;

/// Decodes a form body. Invalid UTF-8 becomes U+FFFD, as the signature is made over decoded text.
pub fn parse_form(body: &[u8]) -> Params {
    form_urlencoded::parse(body).into_owned().collect()
}

fn get<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

fn number<T: FromStr>(params: &Params, name: &str) -> Option<T> {
    get(params, name)?.parse().ok()
}

/// What is wrong with a form that Twilio did sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the form has no {0}")]
pub struct MissingParam(pub &'static str);

/// A message from a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundForm {
    /// `SM…` or `MM…`.
    pub message_sid: String,
    /// The account that it came to.
    pub account_sid: String,
    /// Wire address of the person; may have no phone number in it.
    pub from: String,
    /// Wire address of ours.
    pub to: String,
    /// The text, or the label of the button that was pressed.
    pub body: String,
    /// `STOP`, `START` or `HELP` when Advanced Opt-Out answered already.
    pub opt_out_type: Option<String>,
    /// URL and content type of each attachment.
    pub media: Vec<(String, String)>,
}

impl InboundForm {
    /// Reads the fields that matter.
    ///
    /// # Errors
    /// Names the parameter without which the message can't be kept.
    pub fn read(params: &Params) -> Result<InboundForm, MissingParam> {
        let required = |name: &'static str| get(params, name).ok_or(MissingParam(name));
        let sid = get(params, "MessageSid")
            .or_else(|| get(params, "SmsSid"))
            .or_else(|| get(params, "SmsMessageSid"))
            .ok_or(MissingParam("MessageSid"))?;
        let count: usize = number(params, "NumMedia").unwrap_or(0);
        let media = (0..count.min(10))
            .filter_map(|n| {
                let url = get(params, &format!("MediaUrl{n}"))?;
                let kind = get(params, &format!("MediaContentType{n}")).unwrap_or_default();
                Some((url.to_owned(), kind.to_owned()))
            })
            .collect();
        let body = get(params, "Body").or_else(|| get(params, "ButtonText")).unwrap_or_default();
        Ok(InboundForm {
            message_sid: sid.to_owned(),
            account_sid: required("AccountSid")?.to_owned(),
            from: required("From")?.to_owned(),
            to: get(params, "To").unwrap_or_default().to_owned(),
            body: body.to_owned(),
            opt_out_type: get(params, "OptOutType").map(str::to_uppercase),
            media,
        })
    }
}

/// News of a message that we sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusForm {
    /// `SM…` or `MM…`.
    pub message_sid: String,
    /// The account that it came to.
    pub account_sid: String,
    /// Twilio's word.
    pub status: String,
    /// Set when it failed.
    pub error_code: Option<i64>,
    /// Its text, if sent.
    pub error_message: Option<String>,
}

impl StatusForm {
    /// Reads the fields that matter.
    ///
    /// # Errors
    /// Names the parameter without which the receipt can't be kept.
    pub fn read(params: &Params) -> Result<StatusForm, MissingParam> {
        let either = |first: &'static str, second: &str| {
            get(params, first).or_else(|| get(params, second)).ok_or(MissingParam(first))
        };
        let channel_message = get(params, "ChannelStatusMessage");
        Ok(StatusForm {
            message_sid: either("MessageSid", "SmsSid")?.to_owned(),
            account_sid: either("AccountSid", "AccountSid")?.to_owned(),
            status: either("MessageStatus", "SmsStatus")?.to_owned(),
            error_code: number(params, "ErrorCode").filter(|code| *code != 0),
            error_message: get(params, "ErrorMessage").or(channel_message).map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whatsapp_button_reply_is_read_by_its_label() {
        let params = parse_form(
            b"MessageSid=SM1&AccountSid=AC1&From=whatsapp%3AUS.1349&To=whatsapp%3A%2B1415&Body=&ButtonText=Yes+please&NumMedia=0",
        );
        let form = InboundForm::read(&params).unwrap();
        assert_eq!((form.from.as_str(), form.body.as_str()), ("whatsapp:US.1349", "Yes please"));
    }

    #[test]
    fn a_form_without_sid_or_sender_names_what_is_missing() {
        let params = parse_form(b"AccountSid=AC1&Body=hi");
        assert_eq!(InboundForm::read(&params), Err(MissingParam("MessageSid")));
        let params = parse_form(b"MessageSid=SM1&AccountSid=AC1");
        assert_eq!(InboundForm::read(&params), Err(MissingParam("From")));
        assert_eq!(StatusForm::read(&params), Err(MissingParam("MessageStatus")));
    }

    #[test]
    fn media_are_bounded_whatever_num_media_says() {
        let params = parse_form(
            b"MessageSid=SM1&AccountSid=AC1&From=%2B1415&NumMedia=99999999&MediaUrl0=https%3A%2F%2Fx",
        );
        assert_eq!(InboundForm::read(&params).unwrap().media.len(), 1);
    }
}
