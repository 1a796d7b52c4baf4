//! Reports, as an operator reads them.

use super::{Failure, Report};
use crate::{
    reports::{self, Subject},
    state::App,
};

/// All reports that are kept, the latest first.
pub(super) async fn list(app: &App) -> Result<Vec<Report>, Failure> {
    let reports = reports::list(&app.store).await?.into_iter();
    Ok(reports.map(described).collect())
}

fn described(report: reports::Report) -> Report {
    let (user, room, event) = match report.of {
        Subject::User(user) => (Some(user), None, None),
        Subject::Room(room) => (None, Some(room), None),
        Subject::Event(room, event, sender) => (Some(sender), Some(room), Some(event)),
    };
    Report {
        by: report.by,
        at: report.at,
        user,
        room,
        event,
    }
}
