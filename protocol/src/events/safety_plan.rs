//! `chat.respite.safety_plan`: what helps a person through a crisis, in their own words.

use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{InvalidBlock, MESSAGE, Outgoing};
use crate::text::text;

/// The block's key in the message.
pub const BLOCK: &str = "chat.respite.safety_plan";

/// A safety plan. The newest one of a person counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafetyPlan {
    /// Whose plan it is.
    pub person: OwnedUserId,
    /// How they notice that it is getting worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs: Option<String>,
    /// What they can do on their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<String>,
    /// People and places that take their mind off it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// Whom they can ask for help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<String>,
    /// Professionals whom they can call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub professionals: Option<String>,
    /// How they make their surroundings safer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safer: Option<String>,
    /// What they live for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<String>,
    /// Whose crisis lines to show: an ISO 3166 code of two capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// A part of a safety plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// How they notice that it is getting worse.
    Signs,
    /// What they can do on their own.
    Alone,
    /// People and places that take their mind off it.
    Company,
    /// Whom they can ask for help.
    People,
    /// Professionals whom they can call.
    Professionals,
    /// How they make their surroundings safer.
    Safer,
    /// What they live for.
    Reasons,
}

impl Section {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Signs,
        Self::Alone,
        Self::Company,
        Self::People,
        Self::Professionals,
        Self::Safer,
        Self::Reasons,
    ];

    /// What people read above it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Signs => "How I notice that it is getting worse",
            Self::Alone => "What I can do on my own",
            Self::Company => "People and places that take my mind off it",
            Self::People => "Whom I can ask for help",
            Self::Professionals => "Professionals whom I can call",
            Self::Safer => "How I make my surroundings safer",
            Self::Reasons => "What I live for",
        }
    }
}

impl SafetyPlan {
    /// A plan in which nothing stands yet.
    pub const fn empty(person: OwnedUserId) -> Self {
        Self {
            person,
            signs: None,
            alone: None,
            company: None,
            people: None,
            professionals: None,
            safer: None,
            reasons: None,
            country: None,
        }
    }

    /// What stands in a part.
    pub const fn part(&self, section: Section) -> &Option<String> {
        match section {
            Section::Signs => &self.signs,
            Section::Alone => &self.alone,
            Section::Company => &self.company,
            Section::People => &self.people,
            Section::Professionals => &self.professionals,
            Section::Safer => &self.safer,
            Section::Reasons => &self.reasons,
        }
    }

    /// What stands in a part, to be changed.
    pub const fn part_mut(&mut self, section: Section) -> &mut Option<String> {
        match section {
            Section::Signs => &mut self.signs,
            Section::Alone => &mut self.alone,
            Section::Company => &mut self.company,
            Section::People => &mut self.people,
            Section::Professionals => &mut self.professionals,
            Section::Safer => &mut self.safer,
            Section::Reasons => &mut self.reasons,
        }
    }

    /// The message that carries the plan.
    ///
    /// # Errors
    ///
    /// [`InvalidBlock`] if nothing stands in it, or something is out of limits.
    pub fn to_message(&self) -> Result<Outgoing, InvalidBlock> {
        self.validate()?;
        Ok(Outgoing {
            event_type: MESSAGE,
            content: json!({ "msgtype": "m.text", "body": self.body(), BLOCK: self }),
        })
    }

    /// The plan in an event, if it is one and within limits.
    pub fn from_content(event_type: &str, content: &Value) -> Option<Self> {
        if event_type != MESSAGE {
            return None;
        }
        let plan = Self::deserialize(content.get(BLOCK)?).ok()?;
        plan.validate().ok()?;
        Some(plan)
    }

    fn validate(&self) -> Result<(), InvalidBlock> {
        let mut written = 0;
        for part in Section::ALL
            .iter()
            .filter_map(|section| self.part(*section).as_ref())
        {
            text(part)?;
            written += 1;
        }
        let is_code = |code: &str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        match &self.country {
            Some(country) if !is_code(country) => Err(InvalidBlock::Country),
            _ if written == 0 => Err(InvalidBlock::Empty),
            _ => Ok(()),
        }
    }

    fn body(&self) -> String {
        let parts = Section::ALL.iter().filter_map(|section| {
            let part = self.part(*section).as_ref()?;
            Some(format!("\n{}: {part}", section.title()))
        });
        format!("Safety plan{}", parts.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use ruma::owned_user_id;

    use super::*;

    fn plan() -> SafetyPlan {
        let mut plan = SafetyPlan::empty(owned_user_id!("@nurse:x"));
        for section in Section::ALL {
            *plan.part_mut(section) = Some(format!("{section:?}"));
        }
        plan.country = Some("IE".to_owned());
        plan
    }

    #[test]
    fn what_is_sent_is_what_is_read_and_any_client_shows_it() {
        let sent = plan().to_message().unwrap();
        let body = sent.content["body"].as_str().unwrap();
        for section in Section::ALL {
            assert!(
                body.contains(&format!("{}: {section:?}", section.title())),
                "{body}"
            );
        }
        assert_eq!(
            SafetyPlan::from_content(MESSAGE, &sent.content),
            Some(plan())
        );
        assert_eq!(SafetyPlan::from_content("m.sticker", &sent.content), None);
    }

    #[test]
    fn a_plan_out_of_limits_is_neither_sent_nor_read() {
        let empty = SafetyPlan::empty(owned_user_id!("@nurse:x"));
        assert_eq!(empty.to_message(), Err(InvalidBlock::Empty));
        for country in ["Ireland", "ie", "I", "1E"] {
            let mut abroad = plan();
            abroad.country = Some(country.to_owned());
            assert_eq!(abroad.to_message(), Err(InvalidBlock::Country));
        }
        let mut sent = plan().to_message().unwrap();
        sent.content[BLOCK]["signs"] = json!("x".repeat(4_001));
        assert_eq!(SafetyPlan::from_content(MESSAGE, &sent.content), None);
    }
}
