//! Encryption: certificates of a test's own, and who is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use halcyon_domain::duration::HumanDuration;
use halcyon_tests::nats::Nats;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{Bus, BusSettings, BusTls, Error, Identity, Service, server::TlsFiles};

/// An authority of a test's own.
pub(super) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "a test's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.crt"), certificate.pem()).unwrap();
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate for `name`, in a folder of its own.
    pub(super) fn sign(&self, name: &str) -> TlsFiles {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
        fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        fs::copy(self.file(), folder.join("ca.crt")).unwrap();
        TlsFiles::of(&folder)
    }
}

/// A server that takes TLS only; with `verify`, of clients with a certificate only.
async fn server(tls: &TlsFiles, verify: bool) -> Nats {
    let block = tls.block(verify).unwrap();
    Nats::start_with(|port, _| format!("listen: \"127.0.0.1:{port}\"\n{block}\n"))
        .await
        .unwrap()
}

async fn connect(nats: &Nats, tls: BusTls) -> Result<Bus, Error> {
    let settings = BusSettings {
        url: nats.url(),
        tls,
        connect_timeout: HumanDuration::from_millis(100),
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(Service::Gateway)).await
}

fn trusting(file: &Path) -> BusTls {
    BusTls {
        ca_file: Some(file.to_owned()),
        ..BusTls::default()
    }
}

#[tokio::test]
async fn a_server_is_known_by_its_authority() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let nats = server(&ours.sign("127.0.0.1"), false).await;
    connect(&nats, trusting(&ours.file()))
        .await
        .unwrap()
        .rtt()
        .await
        .unwrap();
    assert!(connect(&nats, trusting(&theirs.file())).await.is_err());
    assert!(connect(&nats, BusTls::default()).await.is_err());
    let elsewhere = server(&ours.sign("nats.example"), false).await;
    assert!(connect(&elsewhere, trusting(&ours.file())).await.is_err());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let authority = Authority::new();
    let nats = Nats::start().await.unwrap();
    assert!(connect(&nats, trusting(&authority.file())).await.is_err());
    assert!(connect(&nats, BusTls::default()).await.is_ok());
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_asked_for() {
    let authority = Authority::new();
    let nats = server(&authority.sign("127.0.0.1"), true).await;
    assert!(connect(&nats, trusting(&authority.file())).await.is_err());
    let own = authority.sign("gateway");
    let tls = BusTls {
        ca_file: Some(own.authorities),
        certificate: Some(own.certificate),
        key: Some(own.key),
        ..BusTls::default()
    };
    connect(&nats, tls).await.unwrap().rtt().await.unwrap();
}

#[tokio::test]
async fn files_that_are_not_there_are_said_at_once() {
    let nats = Nats::start().await.unwrap();
    let missing = connect(&nats, trusting(Path::new("no/such/file"))).await;
    assert!(matches!(missing, Err(Error::Setup(why)) if why.contains("no/such/file")));
    let authority = Authority::new();
    let half = BusTls {
        certificate: Some(authority.file()),
        ..BusTls::default()
    };
    assert!(matches!(connect(&nats, half).await, Err(Error::Setup(_))));
}
