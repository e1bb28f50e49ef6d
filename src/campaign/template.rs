//! A campaign and the Content template that it sends: whether WhatsApp takes it, and what is odd about it.

use super::CampaignError;
use crate::domain::content::{Category, KnownContent};
use crate::domain::message::Kind;
use crate::store::campaigns::CampaignRow;
use crate::store::templates::TemplateRow;
use crate::store::{Connection, StoreError, templates};

/// The template of a campaign: of the version that a launch froze, or else the one in force.
fn template_of(conn: &Connection, campaign: &CampaignRow) -> Result<Option<TemplateRow>, StoreError> {
    match (campaign.launched_at, campaign.template_version) {
        (Some(_), Some(version)) => templates::find_version(conn, campaign.plan.template_id, version),
        _ => templates::find(conn, campaign.plan.template_id),
    }
}

/// Refuses a campaign whose Content template is known to be not approved, paused, disabled or deleted. One that was
/// never seen is let through: an account may send without the right to read templates, and the first message that
/// WhatsApp refuses stops the campaign.
///
/// # Errors
/// [`CampaignError::TemplateNotApproved`].
pub(super) fn check_approved(conn: &Connection, campaign: &CampaignRow) -> Result<(), CampaignError> {
    let known = template_of(conn, campaign)?.and_then(|template| template.text.known);
    match known.and_then(|known| known.refusal()) {
        Some(refusal) => Err(CampaignError::TemplateNotApproved(refusal)),
        None => Ok(()),
    }
}

/// What is odd about a campaign's Content template without forbidding it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn warnings(conn: &Connection, campaign: &CampaignRow) -> Result<Vec<String>, StoreError> {
    let Some(template) = template_of(conn, campaign)? else {
        return Ok(Vec::new());
    };
    let Some(sid) = &template.text.content_sid else {
        return Ok(Vec::new());
    };
    Ok(match &template.text.known {
        None => vec![format!(
            "Nothing is known of {sid}: Twilio was not asked yet, or does not list it. If WhatsApp did not approve it, the first message that is refused pauses the campaign."
        )],
        Some(known) => category_warning(known, campaign.plan.kind).into_iter().collect(),
    })
}

/// Meta charges and delivers by the template's own category, whatever the campaign is called.
fn category_warning(known: &KnownContent, kind: Kind) -> Option<String> {
    let category = known.category.as_deref().and_then(Category::parse)?;
    match (category, kind) {
        (Category::Marketing, Kind::Transactional) => Some(format!(
            "WhatsApp counts {} as MARKETING: it is charged as such and not delivered to US numbers, though the campaign is transactional.",
            known.sid
        )),
        (Category::Utility | Category::Authentication, Kind::Marketing) => Some(format!(
            "WhatsApp counts {} as {}, though the campaign is marketing. Offers sent under this category may get the template disabled.",
            known.sid,
            category.as_str()
        )),
        _ => None,
    }
}
