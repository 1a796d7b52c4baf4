//! The register of everything that is kept: each table's number and name, so that no two are the same.
