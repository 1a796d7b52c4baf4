//! From FHIR: forgiving about what is there besides, strict about what we know.

use super::{
    Band, Choice, Comparison, Condition, Decimal, InvalidQuestionnaire, Item, Kind, MAX_CHOICES,
    MAX_ITEMS, Missing, Questionnaire, Scale, Score, Urgent, Value, When,
    fhir::{
        self, AnswerOption, CONCEPT_ORDER, Coding, EnableWhen, Extension, ITEM_CONTROL,
        ITEM_WEIGHT, MAX_VALUE, MIN_VALUE, ORDINAL_VALUE, SCORE, URGENT, ValueSet,
    },
};

/// Extension of items that a program computes: scores, which we compute ourselves.
const CALCULATED: &str =
    "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-calculatedExpression";

impl TryFrom<fhir::Questionnaire> for Questionnaire {
    type Error = InvalidQuestionnaire;

    fn try_from(read: fhir::Questionnaire) -> Result<Self, Self::Error> {
        if read.resource_type != "Questionnaire" {
            let kind = read.resource_type.chars().take(64).collect();
            return Err(InvalidQuestionnaire::ResourceType(kind));
        }
        // Roughly, before anything is made of them: choices that many items share are copied for each.
        if count(&read.item) > 4 * MAX_ITEMS {
            return Err(InvalidQuestionnaire::TooMany("items"));
        }
        let title = read.title.or_else(|| read.name.clone()).unwrap_or_default();
        let id = read.id.filter(|id| !id.is_empty());
        let questionnaire = Self {
            id: id.unwrap_or_else(|| slug(read.name.as_deref().unwrap_or(&title))),
            url: read.url,
            version: read.version,
            title,
            description: read.description,
            copyright: read.copyright,
            codes: read.code,
            items: items(read.item, &read.contained)?,
            scores: read
                .extension
                .iter()
                .filter(|extension| extension.url == SCORE)
                .map(score)
                .collect::<Result<_, _>>()?,
        };
        questionnaire.validate()?;
        Ok(questionnaire)
    }
}

fn count(items: &[fhir::Item]) -> usize {
    let inside = items.iter().map(|item| count(&item.item));
    items.len().saturating_add(inside.sum())
}

/// A name for the command line, made of one for people.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(64) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_end_matches('-').to_owned()
}

fn items(read: Vec<fhir::Item>, sets: &[ValueSet]) -> Result<Vec<Item>, InvalidQuestionnaire> {
    let computed = |item: &fhir::Item| {
        item.read_only == Some(true) || item.extension.iter().any(|ext| ext.url == CALCULATED)
    };
    read.into_iter()
        .filter(|item| !computed(item))
        .map(|item| self::item(item, sets))
        .collect()
}

fn item(read: fhir::Item, sets: &[ValueSet]) -> Result<Item, InvalidQuestionnaire> {
    if read.repeats == Some(true) && read.kind != "group" {
        return Err(InvalidQuestionnaire::Repeats(read.link_id));
    }
    let kind = kind(&read, sets)?;
    let when = when(&read)?;
    let urgent = read
        .extension
        .iter()
        .find(|extension| extension.url == URGENT)
        .map(|extension| Urgent {
            at_least: part(extension, "atLeast").and_then(number),
            at_most: part(extension, "atMost").and_then(number),
        });
    let inside = match kind {
        // Its ends, which are part of the kind.
        Kind::Scale(_) => read
            .item
            .into_iter()
            .filter(|item| end(item).is_none())
            .collect(),
        _ => read.item,
    };
    let prefix = read
        .prefix
        .map(|prefix| format!("{prefix} "))
        .unwrap_or_default();
    let text = read.text.unwrap_or_else(|| {
        let code = read.code.iter().find_map(|code| code.display.clone());
        code.unwrap_or_else(|| read.link_id.clone())
    });
    Ok(Item {
        text: format!("{prefix}{text}"),
        link_id: read.link_id,
        codes: read.code,
        kind,
        required: read.required == Some(true),
        when,
        urgent,
        items: items(inside, sets)?,
    })
}

fn kind(read: &fhir::Item, sets: &[ValueSet]) -> Result<Kind, InvalidQuestionnaire> {
    let limit = |url: &str| {
        let extension = read.extension.iter().find(|extension| extension.url == url);
        extension.and_then(number)
    };
    let (min, max) = (limit(MIN_VALUE), limit(MAX_VALUE));
    Ok(match read.kind.as_str() {
        "group" => Kind::Group,
        "display" => Kind::Display,
        "choice" => Kind::Choice(choices(read, sets)),
        "integer" => {
            let whole = |limit: Option<Decimal>| limit.and_then(Decimal::as_whole);
            let (min, max) = (whole(min), whole(max));
            match (min, max, control(&read.extension)) {
                (Some(low), Some(high), Some("slider")) => Kind::Scale(Scale {
                    low_label: label(&read.item, "lower"),
                    high_label: label(&read.item, "upper"),
                    ..Scale::new(low, high)
                }),
                _ => Kind::Integer { min, max },
            }
        }
        "decimal" => Kind::Decimal { min, max },
        "string" => Kind::Line,
        "text" => Kind::Text,
        "date" => Kind::Date,
        "boolean" => Kind::Boolean,
        other => {
            let other = other.chars().take(64).collect();
            return Err(InvalidQuestionnaire::Kind(read.link_id.clone(), other));
        }
    })
}

/// How an item looks, by the code that says so.
fn control(extensions: &[Extension]) -> Option<&str> {
    let control = extensions
        .iter()
        .find(|extension| extension.url == ITEM_CONTROL)?;
    control
        .value_codeable_concept
        .as_ref()?
        .coding
        .first()?
        .code
        .as_deref()
}

/// Which end of a scale an item names.
fn end(item: &fhir::Item) -> Option<&str> {
    control(&item.extension).filter(|control| matches!(*control, "lower" | "upper"))
}

fn label(items: &[fhir::Item], which: &str) -> Option<String> {
    items
        .iter()
        .find(|item| end(item) == Some(which))?
        .text
        .clone()
}

fn choices(read: &fhir::Item, sets: &[ValueSet]) -> Vec<Choice> {
    let shared = read
        .answer_value_set
        .as_deref()
        .and_then(|name| name.strip_prefix('#'));
    let set = shared.and_then(|name| sets.iter().find(|set| set.id.as_deref() == Some(name)));
    let include = set
        .and_then(|set| set.compose.as_ref())
        .map(|compose| &compose.include);
    let shared = include.into_iter().flatten().flat_map(|include| {
        include.concept.iter().map(|concept| Choice {
            value: Value::Coding(Coding {
                system: include.system.clone(),
                code: Some(concept.code.clone()),
                display: concept.display.clone(),
            }),
            weight: weight(&concept.extension),
        })
    });
    read.answer_option
        .iter()
        .filter_map(choice)
        .chain(shared)
        // One more than there may be: it is refused then, and nothing grows with what a stranger has written.
        .take(MAX_CHOICES + 1)
        .collect()
}

fn choice(option: &AnswerOption) -> Option<Choice> {
    let coding = option.value_coding.clone();
    let in_code = coding.as_ref().and_then(|_| weight(&option.extension));
    let value = coding.map(Value::Coding);
    let value = value.or_else(|| option.value_integer.map(Value::Integer));
    let value = value.or_else(|| option.value_string.clone().map(Value::Text))?;
    let itself = match &value {
        Value::Integer(number) => Decimal::whole(*number),
        _ => None,
    };
    Some(Choice {
        weight: in_code.or_else(|| weight(&option.extension)).or(itself),
        value,
    })
}

fn weight(extensions: &[Extension]) -> Option<Decimal> {
    let weighs = |url: &str| matches!(url, ORDINAL_VALUE | ITEM_WEIGHT | CONCEPT_ORDER);
    extensions
        .iter()
        .find(|extension| weighs(&extension.url))
        .and_then(number)
}

fn number(extension: &Extension) -> Option<Decimal> {
    extension
        .value_decimal
        .or_else(|| extension.value_integer.and_then(Decimal::whole))
}

fn when(read: &fhir::Item) -> Result<Option<When>, InvalidQuestionnaire> {
    if read.enable_when.is_empty() {
        return Ok(None);
    }
    let conditions: Option<Vec<_>> = read.enable_when.iter().map(condition).collect();
    let wrong = || InvalidQuestionnaire::Condition(read.link_id.clone());
    let any = match read.enable_behavior.as_deref() {
        Some("any") => true,
        Some("all") => false,
        None if read.enable_when.len() == 1 => false,
        _ => return Err(wrong()),
    };
    Ok(Some(When {
        any,
        conditions: conditions.ok_or_else(wrong)?,
    }))
}

fn condition(read: &EnableWhen) -> Option<Condition> {
    let value = read.answer_coding.clone().map(Value::Coding);
    let value = value.or_else(|| read.answer_integer.map(Value::Integer));
    let value = value.or_else(|| read.answer_decimal.map(Value::Decimal));
    let value = value.or_else(|| read.answer_date.map(Value::Date));
    let value = value.or_else(|| read.answer_boolean.map(Value::Boolean));
    let value = value.or_else(|| read.answer_string.clone().map(Value::Text))?;
    let comparison = match (read.operator.as_str(), value) {
        ("exists", Value::Boolean(exists)) => Comparison::Exists(exists),
        ("=", value) => Comparison::Is(value),
        ("!=", value) => Comparison::IsNot(value),
        (">", value) => Comparison::Above(value),
        ("<", value) => Comparison::Below(value),
        (">=", value) => Comparison::AtLeast(value),
        ("<=", value) => Comparison::AtMost(value),
        _ => return None,
    };
    Some(Condition {
        question: read.question.clone(),
        comparison,
    })
}

fn part<'a>(extension: &'a Extension, name: &str) -> Option<&'a Extension> {
    extension.extension.iter().find(|part| part.url == name)
}

fn score(read: &Extension) -> Result<Score, InvalidQuestionnaire> {
    let text = |name: &str| part(read, name).and_then(|part| part.value_string.clone());
    let all = |name: &'static str| read.extension.iter().filter(move |part| part.url == name);
    let name = text("name").unwrap_or_default();
    let bands: Option<Vec<_>> = all("band").map(band).collect();
    let missing = match part(read, "missing").and_then(|part| part.value_integer) {
        None | Some(0) => Missing::NoScore,
        Some(at_most) => Missing::MeanOfOthers {
            at_most: usize::try_from(at_most).unwrap_or(usize::MAX),
        },
    };
    Ok(Score {
        code: part(read, "code").and_then(|part| part.value_coding.clone()),
        questions: all("question")
            .filter_map(|part| part.value_string.clone())
            .collect(),
        missing,
        bands: bands.ok_or_else(|| {
            InvalidQuestionnaire::Score(name.clone(), "a band has a low, a high and a label")
        })?,
        positive_from: part(read, "positiveFrom").and_then(number),
        reliable_change: part(read, "reliableChange").and_then(number),
        name,
    })
}

fn band(read: &Extension) -> Option<Band> {
    Some(Band {
        low: part(read, "low").and_then(number)?,
        high: part(read, "high").and_then(number)?,
        label: part(read, "label")?.value_string.clone()?,
    })
}
