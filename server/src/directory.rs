//! Finding people: those whom one shares a room with, or everybody where whoever runs the server wants it so.
//!
//! [User directory](https://spec.matrix.org/v1.18/client-server-api/#user-directory)

mod mutual_rooms;

use axum::Router;
use ruma::{
    OwnedUserId, UserId,
    api::client::user_directory::search_users::v3::{Request, Response, User},
};

use crate::{
    accounts, auth::Device, config::People, endpoint::endpoint, error::Result, profiles::PROFILES,
    rooms::membership, state::App,
};

/// The most people of one answer.
pub const MAX_FOUND: usize = 50;
/// How many accounts are looked at at once.
const PAGE: usize = 500;

/// The endpoints.
pub fn router() -> Router<App> {
    Router::new()
        .merge(endpoint::<_, _, _, _>(search))
        .merge(mutual_rooms::router())
}

/// What is searched for is forgotten with the answer.
async fn search(app: App, me: Device, request: Request) -> Result<Response> {
    let limit = usize::try_from(request.limit).unwrap_or(MAX_FOUND);
    let limit = limit.min(MAX_FOUND);
    let term = request.search_term.trim().to_lowercase();
    let mut found = Vec::new();
    if !term.is_empty() {
        match app.config.directory.people {
            People::Acquainted => {
                let people = membership::neighbours(&app, &me.user).await?;
                let people = people.into_iter().collect();
                match_all(&app, &term, people, &mut found).await?;
            }
            People::Everybody => everybody(&app, &term, &mut found).await?,
        }
    }
    found.retain(|(_, user)| user.user_id != me.user);
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let limited = found.len() > limit;
    let found = found.into_iter().take(limit).map(|(_, user)| user);
    Ok(Response::new(found.collect(), limited))
}

async fn everybody(app: &App, term: &str, found: &mut Vec<(Rank, User)>) -> Result<()> {
    let mut after: Option<OwnedUserId> = None;
    loop {
        let page = accounts::list(&app.store, after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        let in_use = page
            .into_iter()
            .filter(|(_, account)| account.deactivated.is_none());
        match_all(app, term, in_use.map(|(user, _)| user).collect(), found).await?;
        // The best of those so far are kept: whoever comes later may be better.
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found.truncate(MAX_FOUND.saturating_add(2));
    }
}

async fn match_all(
    app: &App,
    term: &str,
    people: Vec<OwnedUserId>,
    found: &mut Vec<(Rank, User)>,
) -> Result<()> {
    for some in people.chunks(PAGE) {
        let profiles = app.store.get_many(&PROFILES, some).await?;
        for (user, profile) in some.iter().zip(profiles) {
            let name = profile.and_then(|profile| profile.displayname);
            if let Some(rank) = Rank::of(term, user, name.as_deref()) {
                let mut shown = User::new(user.clone());
                shown.display_name = name;
                found.push((rank, shown));
            }
        }
    }
    Ok(())
}

/// How well somebody fits: wholly, from the beginning, or somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    fit: u8,
    unnamed: bool,
    user: OwnedUserId,
}

impl Rank {
    fn of(term: &str, user: &UserId, name: Option<&str>) -> Option<Self> {
        // Everybody's id ends in the server's name: only who writes a whole id means that.
        let id = match term.starts_with('@') {
            true => user.as_str(),
            false => user.localpart(),
        };
        let fits = [Some(id), name].into_iter().flatten();
        let fit = fits
            .filter_map(|text| fit(term, &text.to_lowercase()))
            .min()?;
        Some(Self {
            fit,
            unnamed: name.is_none(),
            user: user.to_owned(),
        })
    }
}

fn fit(term: &str, text: &str) -> Option<u8> {
    if text == term {
        Some(0)
    } else if text.starts_with(term) {
        Some(1)
    } else {
        text.contains(term).then_some(2)
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn people_are_found_by_any_part_of_their_names_in_any_case() {
        let nurse = user_id!("@night.nurse:localhost");
        let rank = |term: &str| Rank::of(term, nurse, Some("Eule")).map(|rank| rank.fit);
        assert_eq!(rank("night.nurse"), Some(0));
        assert_eq!(rank("eule"), Some(0));
        assert_eq!(rank("eu"), Some(1));
        assert_eq!(rank("nurse"), Some(2));
        assert_eq!(rank("@night.nurse:localhost"), Some(0));
        assert_eq!(rank("local"), None);
    }
}
