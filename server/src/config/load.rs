//! Reads the file; what is wrong in it is told with its line.

use std::{ops::Range, path::Path};

use toml::de::DeTable;

use super::{Config, Invalid};

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The file says something that it cannot say.
    #[error("{file}:{line}: {sentence}")]
    Wrong {
        /// Which file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it, for a person.
        sentence: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has a setting that does not exist, or one that cannot be as it is.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            file: file.clone(),
            error,
        })?;
        Self::parse(&text, &file)
    }

    /// Reads and checks the text of a file with this name.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let wrong = |line, sentence| ConfigError::Wrong {
            file: file.to_owned(),
            line,
            sentence,
        };
        let config: Self = toml::from_str(text)
            .map_err(|error| wrong(line_of(text, error.span()), error.message().to_owned()))?;
        config.validate().map_err(|invalid| {
            wrong(line_of(text, span_of(text, &invalid)), invalid.to_string())
        })?;
        Ok(config)
    }
}

/// Where a setting is; where it is not written, its section.
fn span_of(text: &str, invalid: &Invalid) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let (key, section) = table.get_ref().get_key_value(invalid.section)?;
    let field = section.get_ref().as_table()?.get_key_value(invalid.field);
    Some(field.map_or_else(|| key.span(), |(key, _)| key.span()))
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = text
        .get(..span.map_or(0, |span| span.start))
        .unwrap_or(text);
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        Config::parse(text, "respite.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(
            Config::parse("", "respite.toml").unwrap(),
            Config::default()
        );
    }

    #[test]
    fn a_misspelt_setting_is_named_with_its_line() {
        let complaint = complaint("[server]\n\nnaem = \"example.org\"\n");
        assert!(complaint.starts_with("respite.toml:3: "), "{complaint}");
        assert!(complaint.contains("naem"), "{complaint}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_line() {
        for text in [
            "[server]\nlisten = \"here\"\n",
            "[connections]\nheader_wait = 30\n",
            "[connections]\nheader_wait = \"soon\"\n",
            "[gate]\nscope = \"nowhere\"\n",
            "[server]\nname = \"not a name\"\n",
        ] {
            let complaint = complaint(text);
            assert!(complaint.starts_with("respite.toml:2: "), "{complaint}");
        }
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_line() {
        for (text, line, setting) in [
            (
                "[rooms]\ndefault_version = \"9\"\n",
                2,
                "rooms.default_version",
            ),
            ("\n[media]\nmax_upload = 0\n", 3, "media.max_upload"),
            ("[tls]\nkey = \"k.pem\"\n", 2, "tls.key"),
            (
                "[connections]\nmax = 1\nheader_bytes = 12\n",
                3,
                "connections.header_bytes",
            ),
            (
                "[server]\npublic_url = \"example.org\"\n",
                2,
                "server.public_url",
            ),
            ("server = { cache = 1 }\n", 1, "server.cache"),
            (
                "[s3]\nendpoint = \"http://s3.example.org\"\n",
                2,
                "s3.endpoint",
            ),
        ] {
            let complaint = complaint(text);
            assert!(
                complaint.starts_with(&format!("respite.toml:{line}: {setting}: ")),
                "{complaint}"
            );
        }
    }

    #[test]
    fn what_is_not_toml_is_told_with_its_line() {
        assert!(complaint("[server]\nname =\n").starts_with("respite.toml:2: "));
    }
}
