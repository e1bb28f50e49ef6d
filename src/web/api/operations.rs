//! Every described handler. A test holds the document that comes of it against the table of routes.

use utoipa::OpenApi;

use super::{
    campaign_actions, campaigns, consent, content_templates, event_stream, events, imports, inbound,
    messages, report, segments, templates, timeline, topics, users, webhook_deliveries, webhook_endpoints,
};
use crate::web::openapi::serve;
use crate::web::openapi::shapes::campaigns::CampaignStatus;
use crate::web::openapi::shapes::content_templates::ContentStatus;
use crate::web::openapi::shapes::messages::{InboundKind, MessageKind, MessageStatus};
use crate::web::openapi::shapes::{Problem, SheetFormat, Time};

/// The operations as the handlers tell of them; `web::openapi` makes the document of it.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        campaign_actions::cancel,
        campaign_actions::clone,
        campaign_actions::launch,
        campaign_actions::pause,
        campaign_actions::resume,
        campaign_actions::retry_failed,
        campaign_actions::test,
        campaigns::create,
        campaigns::list,
        campaigns::remove,
        campaigns::show,
        campaigns::update,
        consent::list,
        consent::record,
        content_templates::create,
        content_templates::list,
        content_templates::show,
        content_templates::submit,
        content_templates::submit_own,
        content_templates::sync,
        event_stream::show,
        events::list,
        imports::create,
        imports::issues,
        imports::list,
        imports::show,
        inbound::list,
        messages::cancel,
        messages::cancel_by_reference,
        messages::create,
        messages::list,
        messages::show,
        report::people,
        report::show,
        segments::create,
        segments::list,
        segments::preview,
        segments::remove,
        segments::replace,
        segments::show,
        serve::document,
        templates::create,
        templates::list,
        templates::preview,
        templates::remove,
        templates::replace,
        templates::show,
        timeline::show,
        topics::create,
        topics::join,
        topics::leave,
        topics::list,
        topics::remove,
        topics::show,
        topics::update,
        users::create,
        users::erase,
        users::list,
        users::show,
        users::update,
        webhook_deliveries::list,
        webhook_deliveries::resend,
        webhook_deliveries::show,
        webhook_deliveries::test,
        webhook_endpoints::create,
        webhook_endpoints::list,
        webhook_endpoints::remove,
        webhook_endpoints::rotate,
        webhook_endpoints::show,
        webhook_endpoints::update,
    ),
    components(schemas(
        Problem,
        Time,
        SheetFormat,
        MessageStatus,
        MessageKind,
        InboundKind,
        CampaignStatus,
        ContentStatus
    ))
)]
pub(in crate::web) struct Operations;
