//! A database whose certificate somebody has signed.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use respite_outside::part::POSTGRESQL;
use tempfile::TempDir;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// Gives the database a certificate for 127.0.0.1, and lets it speak TLS.
fn certify(cluster: &Cluster, authority: &Authority) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, authority).unwrap();
    let owner = fs::metadata(cluster.directory()).unwrap();
    for (name, pem) in [
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        let file = cluster.directory().join("data").join(name);
        fs::write(&file, pem).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    cluster.sql("ALTER SYSTEM SET ssl = on").unwrap();
    cluster.stop().unwrap();
    cluster.resume().unwrap();
}

fn trusting(url: &str, authority: &Authority, directory: &Path) -> String {
    let file = directory.join("authority.pem");
    fs::write(&file, authority.pem()).unwrap();
    format!("{url}?sslmode=verify-full&sslrootcert={}", file.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_proves_who_it_is() {
    if !POSTGRESQL.is_there() {
        return;
    }
    let (ours, theirs) = (authority(), authority());
    let cluster = Cluster::start(&[]).unwrap();
    let directory = TempDir::new().unwrap();
    let url = cluster.fresh().unwrap();

    let asked = trusting(&url, &ours, directory.path());
    let refused = Postgres::open(&asked).await.err().unwrap();
    assert!(refused.to_string().contains("TLS"), "without: {refused}");

    certify(&cluster, &ours);
    let engine = Postgres::open(&asked).await.unwrap();
    engine.commit(append(b"sealed")).await.unwrap();
    assert_eq!(entries(&engine).await, [b"sealed"]);
    let open = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'respite-server' AND NOT ssl";
    assert_eq!(cluster.sql(open).unwrap().trim(), "0");

    let elsewhere = asked.replace("127.0.0.1", "localhost");
    let refused = Postgres::open(&elsewhere).await.err().unwrap();
    assert!(
        refused.to_string().contains("not valid for name"),
        "{refused}"
    );

    let asked = trusting(&url, &theirs, directory.path());
    let refused = Postgres::open(&asked).await.err().unwrap();
    assert!(
        refused.to_string().contains("peer certificate"),
        "{refused}"
    );
}
