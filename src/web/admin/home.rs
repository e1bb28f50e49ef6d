//! `/admin`: what is going out, and whether anything needs somebody.

use minijinja::context;

use super::Answer;
use super::page::Page;

pub(super) async fn show(page: Page) -> Answer {
    page.show("dashboard.html", context! { title => "Dashboard", section => "dashboard" })
}
