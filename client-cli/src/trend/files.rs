//! Trends as files for other programs.

use respite_protocol::instruments::{Response, Scored, fhir::QuestionnaireResponse};
use serde_json::{Value as Json, json};

use super::{Answered, Trend};

/// All scores as CSV (RFC 4180), a line for each.
pub fn csv(trends: &[Trend], person: &str) -> String {
    let mut lines =
        vec!["time,person,instrument,title,score,value,band,estimated,late,urgent".to_owned()];
    for trend in trends {
        let id = trend
            .questionnaire
            .as_ref()
            .map_or(trend.id.as_str(), |of| of.id.as_str());
        for series in &trend.series {
            for point in &series.points {
                let fields = [
                    point.at.to_string(),
                    person.to_owned(),
                    id.to_owned(),
                    trend.title.clone(),
                    series.name.clone(),
                    point.value.to_string(),
                    point.band.clone().unwrap_or_default(),
                    point.estimated.to_string(),
                    point.late.to_string(),
                    point.urgent.to_string(),
                ];
                lines.push(fields.map(|field| field_of(&field)).join(","));
            }
        }
    }
    lines.join("\r\n") + "\r\n"
}

/// A field of CSV. What a spreadsheet would take for a formula is made a text.
fn field_of(text: &str) -> String {
    let number = text.parse::<f64>().is_ok();
    let formula = !number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// All answers as a FHIR R4 bundle: the questionnaires, the responses, and an observation for each
/// score. The person is their pseudonym.
pub fn bundle(trends: &[Trend], person: &str) -> Json {
    let mut entries = Vec::new();
    for trend in trends {
        entries.extend(trend.questionnaire.as_ref().map(|of| json!(of)));
        for answered in &trend.answers {
            entries.extend(resources(answered, person));
        }
    }
    let entries: Vec<_> = entries
        .into_iter()
        .map(|resource| json!({ "resource": resource }))
        .collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
}

fn resources(answered: &Answered, person: &str) -> Vec<Json> {
    let Some(questionnaire) = &answered.questionnaire else {
        return Vec::new();
    };
    let at = answered.given.at.to_string();
    let answers = &answered.given.answers;
    let mut response = Response::new(questionnaire, answers);
    response.authored = Some(at.clone());
    let mut written = json!(QuestionnaireResponse::from(response));
    if let Json::Object(written) = &mut written {
        written.insert("subject".to_owned(), json!({ "display": person }));
    }
    let mut resources = vec![written];
    let scored = questionnaire.scored(answers);
    resources.extend(
        scored
            .iter()
            .map(|scored| observation(scored, &questionnaire.title, person, &at)),
    );
    resources
}

fn observation(scored: &Scored<'_>, title: &str, person: &str, at: &str) -> Json {
    let text = format!("{title}: {}", scored.score.name);
    let mut code = json!({ "text": text });
    if let (Json::Object(code), Some(coding)) = (&mut code, &scored.score.code) {
        code.insert("coding".to_owned(), json!([coding]));
    }
    let mut observation = json!({
        "resourceType": "Observation", "status": "final", "code": code,
        "subject": { "display": person }, "effectiveDateTime": at,
        "valueQuantity": { "value": scored.value, "unit": "{score}" },
    });
    if let (Json::Object(observation), Some(band)) = (&mut observation, scored.band()) {
        observation.insert("interpretation".to_owned(), json!([{ "text": band.label }]));
    }
    observation
}
