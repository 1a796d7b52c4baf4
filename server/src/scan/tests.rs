use std::collections::BTreeSet;

use super::*;
use crate::schema;

#[test]
fn every_table_of_the_store_is_looked_at() {
    let rows: BTreeSet<_> = tables::rows()
        .iter()
        .map(|row| (row.number, row.name))
        .collect();
    let mut tables: BTreeSet<_> = schema::tables().into_iter().collect();
    tables.insert((0, "list heads"));
    assert_eq!(rows, tables);
}
