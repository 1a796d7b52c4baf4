//! The questionnaires that can be asked from here: those that are bundled, and those that were
//! imported from FHIR files, which are kept in the profile's encrypted store.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};
use matrix_sdk::Client;
use respite_protocol::{
    events::{AnswerKind, Scale},
    instruments::{Band, Decimal, Item, Kind, Questionnaire, Score, Urgent, bundled},
};

use crate::names::{Named, resolve};

/// Largest file with a questionnaire, in bytes.
pub const MAX_FILE_BYTES: u64 = 1_000_000;
/// Most questionnaires that are imported.
pub const MAX_IMPORTED: usize = 100;

const KEY: &[u8] = b"chat.respite.instruments";

/// The imported questionnaires, by id.
///
/// # Errors
///
/// If the store cannot be read.
pub async fn imported(client: &Client) -> Result<Vec<Questionnaire>> {
    let kept = client.state_store().get_custom_value(KEY).await?;
    match kept {
        Some(kept) => {
            serde_json::from_slice(&kept).context("the imported questionnaires cannot be read")
        }
        None => Ok(Vec::new()),
    }
}

/// Imports a questionnaire.
///
/// # Errors
///
/// If it is out of limits, has the id of another (unless `replace` says so, and never that of a
/// bundled one), or the store cannot be written.
pub async fn import(client: &Client, questionnaire: Questionnaire, replace: bool) -> Result<()> {
    questionnaire.validate()?;
    let id = questionnaire.id.clone();
    if bundled::named(&id).is_some() {
        bail!("“{id}” is bundled; give yours another name with --id");
    }
    let mut all = imported(client).await?;
    let before = all.len();
    all.retain(|other| other.id != id);
    if all.len() < before && !replace {
        bail!("there is a questionnaire “{id}” already; --replace replaces it");
    }
    if all.len() >= MAX_IMPORTED {
        bail!("at most {MAX_IMPORTED} questionnaires can be imported; remove one first");
    }
    all.push(questionnaire);
    all.sort_by(|one, next| one.id.cmp(&next.id));
    keep(client, &all).await
}

/// Removes an imported questionnaire.
///
/// # Errors
///
/// If there is none, or the store cannot be written.
pub async fn remove(client: &Client, id: &str) -> Result<()> {
    let mut all = imported(client).await?;
    let before = all.len();
    all.retain(|other| other.id != id);
    if all.len() == before {
        bail!("there is no imported questionnaire “{id}”");
    }
    keep(client, &all).await
}

async fn keep(client: &Client, all: &[Questionnaire]) -> Result<()> {
    let all = serde_json::to_vec(all)?;
    client
        .state_store()
        .set_custom_value_no_read(KEY, all)
        .await?;
    Ok(())
}

/// The questionnaire that `name` stands for, among the bundled and these imported ones.
///
/// # Errors
///
/// If there is none, or more than one fits.
pub fn named(name: &str, imported: Vec<Questionnaire>) -> Result<Questionnaire> {
    let all = bundled::all().into_iter().chain(imported);
    let all: Vec<_> = all
        .map(|questionnaire| Named {
            id: questionnaire.id.clone(),
            label: questionnaire.id.clone(),
            aliases: vec![
                questionnaire.title.clone(),
                questionnaire.id.replace('-', ""),
            ],
            thing: questionnaire,
        })
        .collect();
    Ok(resolve("questionnaire", name, &all)?.thing.clone())
}

/// Reads a questionnaire from a FHIR file.
///
/// # Errors
///
/// If the file cannot be read, is too large, or is no questionnaire that can be asked.
pub fn read(path: &Path) -> Result<Questionnaire> {
    let shown = path.display();
    let mut text = Vec::new();
    let file = File::open(path).with_context(|| format!("the file {shown} cannot be read"))?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("the file {shown} cannot be read"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        bail!("the file {shown} is too large for a questionnaire");
    }
    serde_json::from_slice(&text)
        .with_context(|| format!("the file {shown} is no questionnaire that can be asked"))
}

/// A single question as a questionnaire, so that it can have a rule.
pub fn single(text: &str, scale: Scale) -> Questionnaire {
    let question = Item::new("question", text, Kind::Scale(scale));
    Questionnaire {
        id: "question".to_owned(),
        url: None,
        version: None,
        title: text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(255)
            .collect(),
        description: None,
        copyright: None,
        codes: Vec::new(),
        scores: vec![Score::sum("answer", vec![question.link_id.clone()])],
        items: vec![question],
    }
}

/// What is asked with a questionnaire.
pub fn asked(questionnaire: Questionnaire) -> AnswerKind {
    AnswerKind::Questionnaire {
        questionnaire: Box::new(questionnaire),
    }
}

/// From which answer on a question is urgent, as it is written: `9>=1`, `mood<=2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The question: its name, or its number from 1.
    pub question: String,
    /// Which answers.
    pub urgent: Urgent,
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || "write it like 9>=1 or mood<=2: a question, and from which answer on".to_owned();
        let number = |text: &str| text.trim().parse::<Decimal>().map_err(|_| wrong());
        let mut urgent = Urgent::default();
        let question = match (text.split_once(">="), text.split_once("<=")) {
            (Some((question, least)), None) => {
                urgent.at_least = Some(number(least)?);
                question
            }
            (None, Some((question, most))) => {
                urgent.at_most = Some(number(most)?);
                question
            }
            _ => return Err(wrong()),
        };
        Ok(Self {
            question: question.trim().to_owned(),
            urgent,
        })
    }
}

impl Rule {
    /// Sets the rule on its question. A questionnaire of one question needs no name.
    ///
    /// # Errors
    ///
    /// If there is no such question, or it has no numbers.
    pub fn set(&self, questionnaire: &mut Questionnaire) -> Result<()> {
        let Some(link_id) = self.link_id(questionnaire) else {
            bail!(
                "there is no question “{}” in {}",
                self.question,
                questionnaire.title
            )
        };
        if let Some(item) = find(&mut questionnaire.items, &link_id) {
            item.urgent = Some(self.urgent);
        }
        questionnaire.validate()?;
        Ok(())
    }

    fn link_id(&self, questionnaire: &Questionnaire) -> Option<String> {
        let place = self.question.parse::<usize>().ok();
        let mut questions = questionnaire.questions();
        let question = match (self.question.as_str(), place) {
            ("", _) => questionnaire.only_question(),
            (_, Some(place)) => questions.nth(place.checked_sub(1)?),
            (name, None) => questions.find(|item| item.link_id == name),
        };
        question.map(|question| question.link_id.clone())
    }
}

fn find<'a>(items: &'a mut [Item], link_id: &str) -> Option<&'a mut Item> {
    for item in items {
        if item.link_id == link_id {
            return Some(item);
        }
        if let Some(found) = find(&mut item.items, link_id) {
            return Some(found);
        }
    }
    None
}

/// A band as it is written: `0-7:none`, `8-14:below the threshold`.
///
/// # Errors
///
/// A sentence, if it is none.
pub fn band(text: &str) -> Result<Band, String> {
    let wrong = || "write it like 0-7:none".to_owned();
    let (range, label) = text.split_once(':').ok_or_else(wrong)?;
    let (low, high) = range.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<Decimal>().map_err(|_| wrong());
    Ok(Band {
        low: number(low)?,
        high: number(high)?,
        label: label.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_questionnaire_is_found_by_what_people_call_it() {
        for name in ["phq-9", "PHQ9", "phq-9: depression", "gad-7", "between"] {
            assert!(named(name, Vec::new()).is_ok(), "{name}");
        }
        assert!(named("phq", Vec::new()).is_err(), "three begin so");
        assert!(named("isi", Vec::new()).is_err());
    }

    #[test]
    fn a_rule_is_set_on_a_question_by_number_or_name() {
        let mut gad_7 = bundled::named("gad-7").unwrap();
        "7>=2".parse::<Rule>().unwrap().set(&mut gad_7).unwrap();
        let seventh = gad_7.question("/69736-7").unwrap();
        assert_eq!(seventh.urgent.unwrap().at_least, Decimal::whole(2));
        "/69725-0 >= 3"
            .parse::<Rule>()
            .unwrap()
            .set(&mut gad_7)
            .unwrap();
        assert!(gad_7.question("/69725-0").unwrap().urgent.is_some());
        assert!("8>=1".parse::<Rule>().unwrap().set(&mut gad_7).is_err());
        let mut mood = single("How are you?", Scale::new(0, 10));
        "<=2".parse::<Rule>().unwrap().set(&mut mood).unwrap();
        assert_eq!(mood.items[0].urgent.unwrap().at_most, Decimal::whole(2));
        let mut line = bundled::named("line").unwrap();
        assert!("line>=1".parse::<Rule>().unwrap().set(&mut line).is_err());
        for text in ["", "9", "9>1", "9>=", "9>=x", "9>=1<=2"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }

    #[test]
    fn bands_are_written_as_people_write_them() {
        let band_ = band("8-14: below the threshold").unwrap();
        assert_eq!(
            (band_.low, band_.label.as_str()),
            (Decimal::whole(8).unwrap(), "below the threshold")
        );
        for text in ["", "8", "8-14", "a-b:c", ":x"] {
            assert!(band(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_no_questionnaire_is_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        std::fs::write(&path, "{\"resourceType\": \"Patient\"}").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("“Patient”"), "{error}");
        std::fs::write(&path, vec![b' '; 1_000_001]).unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("too large"));
        assert!(read(&dir.path().join("absent")).is_err());
    }
}
