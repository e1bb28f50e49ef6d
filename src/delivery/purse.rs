//! The money of one look at a lane: what may still be spent, what was, and what happens when it is too little.

use crate::clock::Millis;
use crate::domain::gate::Reason;
use crate::domain::message::Kind;
use crate::domain::price::{Cost, Currency, Parcel, amount};
use crate::domain::rules::Rules;
use crate::store::campaigns::{self, Rest};
use crate::store::{StoreError, Tx, spending};

/// A single message whose price nobody knows waits this long before it is asked about again.
const ASK_AGAIN: Millis = 3_600_000;

/// What was spent before this look, what during it, and the caps.
pub(super) struct Purse<'a> {
    rules: &'a Rules,
    campaign_id: Option<i64>,
    cap: Option<i64>,
    of_campaign: Cost,
    of_day: Cost,
    spent: Cost,
}

/// Whether a message may be paid for.
pub(super) enum Funds {
    /// Yes; what it costs, if that is known.
    Enough(Option<i64>),
    /// No, and the campaign stands still now.
    Paused,
    /// No: this message waits.
    Wait { until: Millis, reason: Reason },
}

impl<'a> Purse<'a> {
    /// What stands in the sums as the look begins.
    pub(super) fn open(
        tx: &Tx<'_>,
        rules: &'a Rules,
        campaign_id: Option<i64>,
    ) -> Result<Purse<'a>, StoreError> {
        let (cap, of_campaign) = match campaign_id {
            Some(id) => spending::of_campaign(tx.conn(), id)?,
            None => (None, Cost::default()),
        };
        let of_day = match rules.cap_per_day {
            Some(_) => spending::of_day(tx.conn(), spending::day_of(tx.now()))?,
            None => Cost::default(),
        };
        Ok(Purse { rules, campaign_id, cap, of_campaign, of_day, spent: Cost::default() })
    }

    /// Asks for the price of a message. What can't be paid stops its campaign, or all marketing for the day.
    pub(super) fn ask(&self, tx: &Tx<'_>, parcel: &Parcel<'_>, is_test: bool) -> Result<Funds, StoreError> {
        let price = self.rules.prices.price(parcel);
        let currency = self.rules.prices.currency();
        let cap = self.cap;
        let per_day = self.rules.cap_per_day.filter(|_| parcel.kind == Kind::Marketing && !is_test);
        if cap.is_none() && per_day.is_none() {
            return Ok(Funds::Enough(price));
        }
        let Some(price) = price else {
            return self.refuse_unknown(tx, parcel);
        };
        let spent = self.of_campaign.known_micros.saturating_add(self.spent.known_micros);
        if let (Some(cap), Some(id)) = (cap, self.campaign_id)
            && spent.saturating_add(price) > cap
        {
            let reason = campaign_is_spent(cap, spent, price, currency);
            campaigns::rest(tx, id, &Rest { reason: &reason, until: None })?;
            return Ok(Funds::Paused);
        }
        let today = self.of_day.known_micros.saturating_add(self.spent.known_micros);
        if let Some(cap) = per_day
            && today.saturating_add(price) > cap
        {
            let until = spending::next_day(tx.now());
            let reason = day_is_spent(cap, today, price, currency);
            campaigns::rest_marketing(tx, &Rest { reason: &reason, until: Some(until) })?;
            return Ok(match self.campaign_id {
                Some(_) => Funds::Paused,
                None => Funds::Wait { until, reason: Reason::SpendingCap },
            });
        }
        Ok(Funds::Enough(Some(price)))
    }

    fn refuse_unknown(&self, tx: &Tx<'_>, parcel: &Parcel<'_>) -> Result<Funds, StoreError> {
        let Some(id) = self.campaign_id else {
            return Ok(Funds::Wait { until: tx.now() + ASK_AGAIN, reason: Reason::PriceUnknown });
        };
        let cap = if self.cap.is_some() { "its spend_cap" } else { "[spending] cap_per_day" };
        let reason = format!(
            "The price of {} is not in the price table, so {cap} can't be kept. Add it under [prices] or take the cap away, then resume.",
            parcel.words()
        );
        campaigns::rest(tx, id, &Rest { reason: &reason, until: None })?;
        Ok(Funds::Paused)
    }

    /// A message was claimed at this price.
    pub(super) fn spend(&mut self, price: Option<i64>) {
        self.spent.add(price, 1);
    }

    /// Writes down what was spent during the look.
    pub(super) fn close(self, tx: &Tx<'_>) -> Result<(), StoreError> {
        spending::add(tx, self.campaign_id, spending::day_of(tx.now()), self.spent)
    }
}

fn campaign_is_spent(cap: i64, spent: i64, price: i64, currency: Currency) -> String {
    format!(
        "The spend_cap of {} {currency} is reached: {} are spent or reserved, and the next message costs {}. Raise it, then resume.",
        amount(cap),
        amount(spent),
        amount(price)
    )
}

fn day_is_spent(cap: i64, spent: i64, price: i64, currency: Currency) -> String {
    format!(
        "The cap of {} {currency} a day is reached: {} are spent or reserved on this UTC day, and the next message costs {}. It goes on by itself on the next; raise [spending] cap_per_day for more.",
        amount(cap),
        amount(spent),
        amount(price)
    )
}
