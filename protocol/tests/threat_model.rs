//! What `docs/threat-model.md` tells people is what the gate does.

use std::{env, fs};

use respite_protocol::ciphertext;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/threat-model.md");
const BEGIN: &str = "<!-- table -->\n";
const END: &str = "<!-- end of table -->";

#[test]
fn the_threat_model_shows_the_table_that_the_gate_uses() {
    let page = fs::read_to_string(PATH).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has a place for the table");
    let (shown, after) = rest.split_once(END).expect("the table has an end");
    let table = format!("{}\n", ciphertext::table_markdown().trim_end());
    if env::var_os("RESPITE_WRITE_DOCS").is_some() {
        fs::write(PATH, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(
            shown == table,
            "docs/threat-model.md is out of step with the gate; write it anew with \
             RESPITE_WRITE_DOCS=1 cargo test -p respite-protocol --test threat_model"
        );
    }
}
