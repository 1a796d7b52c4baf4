//! What a person sees who should not be left alone: their safety plan, and whom to call in their
//! country. All of it is on the device; none of it needs the server.

use anyhow::Result;
use jiff::Timestamp;
use matrix_sdk::{Client, Room, ruma::events::room::power_levels::UserPowerLevel};
use respite_protocol::{
    crisis::{self, Country},
    events::{SafetyPlan, Section},
};
use ruma::{OwnedUserId, UserId, int};
use serde::{Deserialize, Serialize};

use crate::{
    history::{Entry, Said},
    terminal,
};

/// Said at first use, and with every crisis line.
pub const NOT_FOR_EMERGENCIES: &str =
    "Respite is not for emergencies: nobody watches around the clock.";

/// What is said at first use: that this is not for emergencies, and whom to call instead.
pub fn first_words() -> String {
    let screen = Screen::of(None, None);
    match screen.country {
        Some(Country {
            emergency,
            name,
            lines,
            ..
        }) => {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| format!("{}: {}", line.name, line.number))
                .collect();
            format!(
                "{NOT_FOR_EMERGENCIES} In danger call {emergency} ({name}). To talk to somebody now: {}.",
                lines.join("; ")
            )
        }
        None => format!("{NOT_FOR_EMERGENCIES} {}", crisis::ANYWHERE),
    }
}

/// A safety plan, as it was found in a room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Found {
    /// The plan.
    pub plan: SafetyPlan,
    /// Who has sent it.
    pub by: OwnedUserId,
    /// When.
    pub at: Timestamp,
}

/// What is shown when it matters.
#[derive(Clone, Debug, Serialize)]
pub struct Screen {
    /// The country, if it is known.
    pub country: Option<Country>,
    /// What to do where it is not, or elsewhere.
    pub anywhere: &'static str,
    /// The person's plan, if there is one.
    pub plan: Option<SafetyPlan>,
}

/// The newest plan of `person` in these entries, from the person themself or a therapist.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn newest(room: &Room, entries: &[Entry], person: &UserId) -> Result<Option<Found>> {
    for entry in entries.iter().rev() {
        let Said::SafetyPlan(plan) = &entry.said else {
            continue;
        };
        if plan.person == person && may_write_for(room, &entry.sender, person).await? {
            return Ok(Some(Found {
                plan: plan.as_ref().clone(),
                by: entry.sender.clone(),
                at: entry.at,
            }));
        }
    }
    Ok(None)
}

/// Another client in a group room could send a plan in somebody's name; a therapist may.
async fn may_write_for(room: &Room, sender: &UserId, person: &UserId) -> Result<bool> {
    if sender == person {
        return Ok(true);
    }
    let member = room.get_member_no_sync(sender).await?;
    Ok(member.is_some_and(|member| match member.power_level() {
        UserPowerLevel::Infinite => true,
        UserPowerLevel::Int(level) => level >= int!(100),
        _ => false,
    }))
}

/// Keeps the own plan on the device, if a newer one is among these entries.
///
/// # Errors
///
/// If the store cannot be read or written.
pub async fn keep(room: &Room, entries: &[Entry]) -> Result<()> {
    let Some(found) = newest(room, entries, room.own_user_id()).await? else {
        return Ok(());
    };
    let client = room.client();
    if kept(&client).await?.is_none_or(|kept| kept.at < found.at) {
        put(&client, &found).await?;
    }
    Ok(())
}

/// Keeps the own plan on the device as it was written there.
///
/// # Errors
///
/// If the store cannot be written.
pub async fn keep_own(client: &Client, plan: SafetyPlan, at: Timestamp) -> Result<()> {
    let by = plan.person.clone();
    put(client, &Found { plan, by, at }).await
}

async fn put(client: &Client, found: &Found) -> Result<()> {
    let found = serde_json::to_vec(found)?;
    client
        .state_store()
        .set_custom_value_no_read(KEY, found)
        .await?;
    Ok(())
}

/// The own plan, as it is kept on the device.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn kept(client: &Client) -> Result<Option<Found>> {
    let kept = client.state_store().get_custom_value(KEY).await?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

const KEY: &[u8] = b"chat.respite.safety_plan";

impl Screen {
    /// For the person at this device: the country that is named, or that of their plan, or that of
    /// the machine.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub async fn own(client: &Client, country: Option<&str>) -> Result<Self> {
        Ok(Self::of(
            kept(client).await?.map(|found| found.plan),
            country,
        ))
    }

    /// For a person with this plan, if they have one.
    pub fn of(plan: Option<SafetyPlan>, country: Option<&str>) -> Self {
        let planned = plan.as_ref().and_then(|plan| plan.country.clone());
        let code = country
            .map(ToOwned::to_owned)
            .or(planned)
            .or_else(of_the_machine);
        Self {
            country: code.as_deref().and_then(crisis::country),
            anywhere: crisis::ANYWHERE,
            plan,
        }
    }

    /// For people.
    pub fn shown(&self) -> String {
        let mut lines = vec![
            "You do not have to be alone with this.".to_owned(),
            format!("{NOT_FOR_EMERGENCIES} Your therapist reads your answer when they next look."),
        ];
        match &self.country {
            Some(country) => {
                let (name, emergency) = (&country.name, &country.emergency);
                lines.push(format!(
                    "If you are in danger now, call {emergency} ({name})."
                ));
                for line in &country.lines {
                    lines.push(format!("  {}: {}", line.name, line.number));
                }
                lines.push("Elsewhere: respite safety-plan show --country CODE".to_owned());
            }
            None => lines.push(crisis::ANYWHERE.to_owned()),
        }
        match &self.plan {
            Some(plan) => {
                lines.push("Your safety plan:".to_owned());
                lines.extend(plan_lines(plan));
            }
            None => lines.push(
                "You have no safety plan yet. You can write one with your therapist: respite safety-plan edit"
                    .to_owned(),
            ),
        }
        lines.join("\n")
    }
}

/// A plan for people, a part on a line.
pub fn plan_lines(plan: &SafetyPlan) -> Vec<String> {
    let parts = Section::ALL.iter().filter_map(|section| {
        let text = terminal::paragraph(plan.part(*section).as_deref()?, 4);
        Some(format!("  {}: {text}", section.title()))
    });
    parts.collect()
}

/// The country that the machine is set to: `RESPITE_COUNTRY`, else that of the language, such as
/// `en_IE.UTF-8`.
fn of_the_machine() -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set("RESPITE_COUNTRY").or_else(|| {
        ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(set)
            .and_then(|locale| country_of_locale(&locale))
    })
}

fn country_of_locale(locale: &str) -> Option<String> {
    let (_, country) = locale.split(['.', '@']).next()?.split_once('_')?;
    let is_code = country.len() == 2 && country.bytes().all(|b| b.is_ascii_alphabetic());
    is_code.then(|| country.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    #[test]
    fn the_screen_names_the_lines_of_the_country_and_the_plan() {
        let mut plan = SafetyPlan::empty(owned_user_id!("@nurse:x"));
        plan.alone = Some("a cold shower\n\x1b[2J".to_owned());
        plan.country = Some("FR".to_owned());
        let shown = Screen::of(Some(plan.clone()), None).shown();
        assert!(
            shown.contains("3114") && shown.contains("call 112"),
            "{shown}"
        );
        assert!(
            shown.contains("What I can do on my own: a cold shower"),
            "{shown}"
        );
        assert!(!shown.contains('\x1b'));
        let elsewhere = Screen::of(Some(plan), Some("au")).shown();
        assert!(
            elsewhere.contains("13 11 14") && !elsewhere.contains("3114"),
            "{elsewhere}"
        );
    }

    #[test]
    fn where_the_country_is_not_known_there_is_still_somebody_to_call() {
        let shown = Screen::of(None, Some("XX")).shown();
        assert!(shown.contains("112") && shown.contains("911") && shown.contains("findahelpline"));
        assert!(shown.contains("not for emergencies"));
    }

    #[test]
    fn the_country_of_the_machine_is_in_its_language() {
        let cases = [
            ("en_IE.UTF-8", Some("IE")),
            ("fr_FR", Some("FR")),
            ("de_AT@euro", Some("AT")),
            ("C.UTF-8", None),
            ("en", None),
            ("es_419", None),
        ];
        for (locale, country) in cases {
            assert_eq!(country_of_locale(locale).as_deref(), country, "{locale}");
        }
    }
}
