//! Prints the whole effective configuration, with comments: the documented defaults with the values put in.

use toml::{Table, Value};

use super::Config;

/// The defaults, documented. A setting without a default stands there as a comment with an example.
const TEMPLATE: &str = include_str!("default.toml");

const PASSWORD_LEFT_OUT: &str = "# The password is left out here. It can stand in a file of its own: \"…?password_file=FILE\".\n";

impl Config {
    /// The whole configuration as a commented TOML file, which is read back as the same, but for a password in the
    /// store's address.
    pub fn to_commented_toml(&self) -> String {
        let mut shown = self.clone();
        shown.store = self.store.without_password();
        let values = Table::try_from(&shown).unwrap_or_default();
        let mut section = None;
        let mut out = String::with_capacity(TEMPLATE.len() * 2);
        for line in TEMPLATE.lines() {
            if let Some(name) = section_of(line) {
                section = values.get(name);
            }
            match setting_of(line) {
                Some(key) => {
                    let value = match section {
                        None => values.get(key),
                        Some(section) => section.get(key),
                    };
                    if section.is_none() && key == "store" && shown.store != self.store {
                        out.push_str(PASSWORD_LEFT_OUT);
                    }
                    out.push_str(&written(key, value, line));
                }
                None => out.push_str(line),
            }
            out.push('\n');
        }
        out
    }
}

fn section_of(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

/// The setting that a line sets, or would set if it were no comment.
fn setting_of(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
    key.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        .then_some(key)
}

fn written(key: &str, value: Option<&Value>, line: &str) -> String {
    match value {
        Some(value) => format!("{key} = {value}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf, time::Duration};

    use super::*;

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        assert_eq!(
            Config::parse(TEMPLATE, "default.toml").unwrap(),
            Config::default()
        );
        assert_eq!(Config::default().to_commented_toml(), TEMPLATE);
    }

    /// A setting of which nothing is said is one that nobody finds.
    #[test]
    fn every_setting_is_documented() {
        let mut full = Config::default();
        full.server.public_url = Some("https://respite.example.org".to_owned());
        full.s3.endpoint = Some("https://s3.example.org".to_owned());
        full.s3.credentials = Some(PathBuf::from("s3-credentials"));
        full.turn.secret = Some(PathBuf::from("turn-secret"));
        full.tls.certificate = Some(PathBuf::from("certificate.pem"));
        full.tls.key = Some(PathBuf::from("key.pem"));
        let values = Table::try_from(&full).unwrap();
        let settings = |section: &Value| -> BTreeSet<String> {
            section.as_table().unwrap().keys().cloned().collect()
        };
        for (name, section) in &values {
            if !section.is_table() {
                let top = TEMPLATE.split("\n[").next().unwrap();
                assert!(top.lines().any(|line| setting_of(line) == Some(name)));
                continue;
            }
            let text = TEMPLATE.split(&format!("[{name}]\n")).nth(1);
            let text = text.unwrap_or_else(|| panic!("[{name}] is not documented"));
            let text = text.split("\n[").next().unwrap();
            let documented: BTreeSet<String> = text
                .lines()
                .filter_map(setting_of)
                .map(str::to_owned)
                .collect();
            assert_eq!(documented, settings(section), "[{name}]");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let mut config = Config::default();
        config.server.public_url = Some("https://respite.example.org".to_owned());
        config.server.data = PathBuf::from("/srv/with \"quotes\"");
        config.connections.header_wait = Duration::from_millis(1500);
        config.tls.certificate = Some(PathBuf::from("c.pem"));
        config.tls.key = Some(PathBuf::from("k.pem"));
        config.operations.enabled = false;
        let printed = config.to_commented_toml();
        assert_eq!(Config::parse(&printed, "printed").unwrap(), config);
        assert!(printed.contains("# The certificate chain"));
    }

    #[test]
    fn the_password_of_a_database_is_not_printed() {
        let written = |store| Config::parse(&format!("store = {store:?}"), "written").unwrap();
        let mut config = written("postgres://u:hunter2@h/d?readers=3");
        let printed = config.to_commented_toml();
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains(&format!("{PASSWORD_LEFT_OUT}store = ")));
        config.store = written("postgres://u@h/d?readers=3").store;
        assert_eq!(Config::parse(&printed, "printed").unwrap(), config);
        assert!(!config.to_commented_toml().contains(PASSWORD_LEFT_OUT));
    }
}
