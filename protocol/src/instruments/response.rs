use serde::{Deserialize, Serialize};

use super::{
    Answers, Item, MAX_DEPTH, MAX_ITEMS, Questionnaire, Value,
    fhir::{QuestionnaireResponse, ResponseAnswer, ResponseItem},
};
use crate::text::{InvalidText, line, text};

/// The answers to a questionnaire, as they are sent. In JSON it is a FHIR R4
/// `QuestionnaireResponse`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "QuestionnaireResponse", into = "QuestionnaireResponse")]
pub struct Response {
    /// The questionnaire: its url, and perhaps its version after a `|`.
    pub questionnaire: Option<String>,
    /// Whether every question that was asked has an answer.
    pub complete: bool,
    /// When it was answered, in the form of RFC 3339.
    pub authored: Option<String>,
    /// The answers.
    pub items: Vec<Answered>,
}

/// The answer to an item, and to what is inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The item's name in the questionnaire.
    pub link_id: String,
    /// What it says.
    pub text: Option<String>,
    /// The answer; a group has none.
    pub value: Option<Value>,
    /// What is inside.
    pub items: Vec<Answered>,
}

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponse {
    /// It is something else.
    #[error("this is no FHIR QuestionnaireResponse")]
    ResourceType,
    /// There is too much in it.
    #[error("the response has too many items, or they are too deep")]
    TooMany,
    /// A text or a number is out of limits.
    #[error("an answer is out of limits")]
    Limits,
}

impl From<InvalidText> for InvalidResponse {
    fn from(_: InvalidText) -> Self {
        Self::Limits
    }
}

impl Response {
    /// What is sent of these answers to a questionnaire.
    pub fn new(questionnaire: &Questionnaire, answers: &Answers) -> Self {
        let version = questionnaire
            .version
            .as_ref()
            .map(|version| format!("|{version}"));
        let url = questionnaire.url.as_ref();
        let asked = questionnaire.asked(answers);
        let open = |item: &&Item| item.kind.is_question() && answers.get(&item.link_id).is_none();
        Self {
            questionnaire: url.map(|url| format!("{url}{}", version.unwrap_or_default())),
            complete: !asked.iter().any(open),
            authored: None,
            items: answered(&questionnaire.items, &asked, answers),
        }
    }

    /// Every answer, with the link id of its question.
    pub fn answered(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut open: Vec<&Answered> = self.items.iter().rev().collect();
        std::iter::from_fn(move || {
            loop {
                let item = open.pop()?;
                open.extend(item.items.iter().rev());
                if let Some(value) = &item.value {
                    return Some((item.link_id.as_str(), value));
                }
            }
        })
    }

    /// Checks all limits.
    ///
    /// # Errors
    ///
    /// [`InvalidResponse`] if it is out of them.
    pub fn validate(&self) -> Result<(), InvalidResponse> {
        for part in [&self.questionnaire, &self.authored].into_iter().flatten() {
            line(part)?;
        }
        let mut count = 0;
        check(&self.items, 1, &mut count)
    }
}

fn answered(items: &[Item], asked: &[&Item], answers: &Answers) -> Vec<Answered> {
    let is_asked = |item: &&Item| asked.iter().any(|asked| asked.link_id == item.link_id);
    let answered = items.iter().filter(is_asked).map(|item| Answered {
        link_id: item.link_id.clone(),
        text: Some(item.text.clone()),
        value: answers.get(&item.link_id).cloned(),
        items: answered(&item.items, asked, answers),
    });
    answered
        .filter(|item| item.value.is_some() || !item.items.is_empty())
        .collect()
}

fn check(items: &[Answered], depth: usize, count: &mut usize) -> Result<(), InvalidResponse> {
    if depth > MAX_DEPTH && !items.is_empty() {
        return Err(InvalidResponse::TooMany);
    }
    for item in items {
        *count += 1;
        if *count > MAX_ITEMS {
            return Err(InvalidResponse::TooMany);
        }
        line(&item.link_id)?;
        item.text.as_deref().map_or(Ok(()), text)?;
        if !item.value.as_ref().is_none_or(Value::is_in_limits) {
            return Err(InvalidResponse::Limits);
        }
        check(&item.items, depth + 1, count)?;
    }
    Ok(())
}

impl TryFrom<QuestionnaireResponse> for Response {
    type Error = InvalidResponse;

    fn try_from(read: QuestionnaireResponse) -> Result<Self, Self::Error> {
        if read.resource_type != "QuestionnaireResponse" {
            return Err(InvalidResponse::ResourceType);
        }
        let response = Self {
            questionnaire: read.questionnaire,
            complete: read.status.as_deref() != Some("in-progress"),
            authored: read.authored,
            items: read.item.into_iter().map(Answered::from).collect(),
        };
        response.validate()?;
        Ok(response)
    }
}

impl From<ResponseItem> for Answered {
    fn from(read: ResponseItem) -> Self {
        let mut inside = read.item;
        let value = read.answer.first().and_then(ResponseAnswer::value);
        inside.extend(
            read.answer
                .into_iter()
                .take(1)
                .flat_map(|answer| answer.item),
        );
        Self {
            link_id: read.link_id,
            text: read.text,
            value,
            items: inside.into_iter().map(Self::from).collect(),
        }
    }
}

impl From<Response> for QuestionnaireResponse {
    fn from(response: Response) -> Self {
        let status = if response.complete {
            "completed"
        } else {
            "in-progress"
        };
        Self {
            resource_type: "QuestionnaireResponse".to_owned(),
            questionnaire: response.questionnaire,
            status: Some(status.to_owned()),
            authored: response.authored,
            item: response.items.into_iter().map(ResponseItem::from).collect(),
        }
    }
}

impl From<Answered> for ResponseItem {
    fn from(item: Answered) -> Self {
        let inside = item.items.into_iter().map(Self::from).collect();
        let (answer, inside) = match item.value {
            Some(value) => {
                let answer = ResponseAnswer {
                    item: inside,
                    ..value.into()
                };
                (vec![answer], Vec::new())
            }
            None => (Vec::new(), inside),
        };
        Self {
            link_id: item.link_id,
            text: item.text,
            answer,
            item: inside,
        }
    }
}
