//! To FHIR.

use super::{
    Band, Choice, Comparison, Condition, Decimal, Item, Kind, Missing, Questionnaire, Score, Value,
    When,
    fhir::{
        self, AnswerOption, CodeableConcept, Coding, EnableWhen, Extension, ITEM_CONTROL,
        ITEM_CONTROLS, MAX_VALUE, MIN_VALUE, ORDINAL_VALUE, SCORE, URGENT,
    },
};

impl From<Questionnaire> for fhir::Questionnaire {
    fn from(questionnaire: Questionnaire) -> Self {
        Self {
            resource_type: "Questionnaire".to_owned(),
            id: Some(questionnaire.id),
            url: questionnaire.url,
            version: questionnaire.version,
            title: Some(questionnaire.title),
            status: Some("active".to_owned()),
            description: questionnaire.description,
            copyright: questionnaire.copyright,
            code: questionnaire.codes,
            extension: questionnaire.scores.into_iter().map(score).collect(),
            item: questionnaire.items.into_iter().map(item).collect(),
            ..Self::default()
        }
    }
}

fn item(item: Item) -> fhir::Item {
    let mut written = fhir::Item {
        link_id: item.link_id,
        code: item.codes,
        text: Some(item.text),
        required: item.required.then_some(true),
        item: item.items.into_iter().map(self::item).collect(),
        ..fhir::Item::default()
    };
    kind(&mut written, item.kind);
    if let Some(When { any, conditions }) = item.when {
        let behavior = if any { "any" } else { "all" };
        written.enable_behavior = Some(behavior.to_owned());
        written.enable_when = conditions.into_iter().map(condition).collect();
    }
    if let Some(urgent) = item.urgent {
        let part = |url: &str, number: Option<Decimal>| number.map(|number| decimal(url, number));
        let parts = [
            part("atLeast", urgent.at_least),
            part("atMost", urgent.at_most),
        ];
        written
            .extension
            .push(whole(URGENT, parts.into_iter().flatten().collect()));
    }
    written
}

fn kind(written: &mut fhir::Item, kind: Kind) {
    let mut limits = |min: Option<Extension>, max: Option<Extension>| {
        written.extension.extend([min, max].into_iter().flatten());
    };
    let integers = |min: Option<i64>, max: Option<i64>| {
        (
            min.map(|min| integer(MIN_VALUE, min)),
            max.map(|max| integer(MAX_VALUE, max)),
        )
    };
    written.kind = match kind {
        Kind::Group => "group",
        Kind::Display => "display",
        Kind::Choice(choices) => {
            written.answer_option = choices.into_iter().map(option).collect();
            "choice"
        }
        Kind::Integer { min, max } => {
            let (min, max) = integers(min, max);
            limits(min, max);
            "integer"
        }
        Kind::Decimal { min, max } => {
            limits(
                min.map(|min| decimal(MIN_VALUE, min)),
                max.map(|max| decimal(MAX_VALUE, max)),
            );
            "decimal"
        }
        Kind::Scale(scale) => {
            let (min, max) = integers(Some(scale.low), Some(scale.high));
            limits(min, max);
            written.extension.push(control("slider"));
            let ends = [("lower", scale.low_label), ("upper", scale.high_label)];
            let ends = ends.into_iter().filter_map(|(which, label)| {
                Some(fhir::Item {
                    link_id: format!("{}-{which}", written.link_id),
                    extension: vec![control(which)],
                    text: Some(label?),
                    kind: "display".to_owned(),
                    ..fhir::Item::default()
                })
            });
            let ends: Vec<_> = ends.collect();
            written.item.splice(0..0, ends);
            "integer"
        }
        Kind::Line => "string",
        Kind::Text => "text",
        Kind::Date => "date",
        Kind::Boolean => "boolean",
    }
    .to_owned();
}

fn option(choice: Choice) -> AnswerOption {
    let mut option = AnswerOption::default();
    let mut counts_itself = false;
    match choice.value {
        Value::Coding(coding) => option.value_coding = Some(coding),
        Value::Integer(number) => {
            option.value_integer = Some(number);
            counts_itself = choice.weight == Decimal::whole(number);
        }
        other => option.value_string = Some(other.shown()),
    }
    let weight = choice.weight.filter(|_| !counts_itself);
    option.extension = weight
        .map(|weight| decimal(ORDINAL_VALUE, weight))
        .into_iter()
        .collect();
    option
}

fn condition(condition: Condition) -> EnableWhen {
    let (operator, value) = match condition.comparison {
        Comparison::Exists(exists) => ("exists", Value::Boolean(exists)),
        Comparison::Is(value) => ("=", value),
        Comparison::IsNot(value) => ("!=", value),
        Comparison::Above(value) => (">", value),
        Comparison::Below(value) => ("<", value),
        Comparison::AtLeast(value) => (">=", value),
        Comparison::AtMost(value) => ("<=", value),
    };
    let mut written = EnableWhen {
        question: condition.question,
        operator: operator.to_owned(),
        ..EnableWhen::default()
    };
    match value {
        Value::Coding(coding) => written.answer_coding = Some(coding),
        Value::Integer(number) => written.answer_integer = Some(number),
        Value::Decimal(number) => written.answer_decimal = Some(number),
        Value::Text(text) => written.answer_string = Some(text),
        Value::Date(date) => written.answer_date = Some(date),
        Value::Boolean(yes) => written.answer_boolean = Some(yes),
    }
    written
}

fn score(score: Score) -> Extension {
    let mut parts = vec![string("name", score.name)];
    parts.extend(score.code.map(|code| Extension {
        url: "code".to_owned(),
        value_coding: Some(code),
        ..Extension::default()
    }));
    parts.extend(
        score
            .questions
            .into_iter()
            .map(|link_id| string("question", link_id)),
    );
    if let Missing::MeanOfOthers { at_most } = score.missing {
        parts.push(integer(
            "missing",
            i64::try_from(at_most).unwrap_or(i64::MAX),
        ));
    }
    parts.extend(score.bands.into_iter().map(band));
    parts.extend(
        score
            .positive_from
            .map(|from| decimal("positiveFrom", from)),
    );
    parts.extend(
        score
            .reliable_change
            .map(|least| decimal("reliableChange", least)),
    );
    whole(SCORE, parts)
}

fn band(band: Band) -> Extension {
    let parts = vec![
        decimal("low", band.low),
        decimal("high", band.high),
        string("label", band.label),
    ];
    whole("band", parts)
}

fn whole(url: &str, parts: Vec<Extension>) -> Extension {
    Extension {
        url: url.to_owned(),
        extension: parts,
        ..Extension::default()
    }
}

fn string(url: &str, text: String) -> Extension {
    Extension {
        url: url.to_owned(),
        value_string: Some(text),
        ..Extension::default()
    }
}

fn integer(url: &str, number: i64) -> Extension {
    Extension {
        url: url.to_owned(),
        value_integer: Some(number),
        ..Extension::default()
    }
}

fn decimal(url: &str, number: Decimal) -> Extension {
    Extension {
        url: url.to_owned(),
        value_decimal: Some(number),
        ..Extension::default()
    }
}

fn control(code: &str) -> Extension {
    let coding = Coding {
        system: Some(ITEM_CONTROLS.to_owned()),
        code: Some(code.to_owned()),
        display: None,
    };
    Extension {
        url: ITEM_CONTROL.to_owned(),
        value_codeable_concept: Some(CodeableConcept {
            coding: vec![coding],
        }),
        ..Extension::default()
    }
}
