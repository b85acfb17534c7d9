//! The classic ways to forge a token, against an issuer in this process whose keys were made just now.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use chrono::TimeDelta;
use halcyon_domain::{
    access::Role,
    clock::{ManualClock, SystemClock},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// An Ed25519 key of a seed (RFC 8410, section 7: PKCS #8, version 1).
fn ed25519(seed: [u8; 32]) -> Vec<u8> {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    der.extend(seed);
    der
}

/// A key that signs, and its public half as it is published.
pub(crate) struct Signer {
    alg: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl Signer {
    pub(crate) fn new(alg: Algorithm, kid: &str) -> Self {
        let pem = |kind| KeyPair::generate_for(kind).unwrap().serialize_pem();
        let private = match alg {
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem(&PKCS_ECDSA_P256_SHA256).as_bytes()).unwrap(),
            Algorithm::ES384 => EncodingKey::from_ec_pem(pem(&PKCS_ECDSA_P384_SHA384).as_bytes()).unwrap(),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&ed25519(rand::random())),
            _ => EncodingKey::from_rsa_pem(pem(&PKCS_RSA_SHA256).as_bytes()).unwrap(),
        };
        let mut public = serde_json::to_value(Jwk::from_encoding_key(&private, alg).unwrap()).unwrap();
        public["kid"] = json!(kid);
        public["use"] = json!("sig");
        Self { alg, private, public }
    }

    fn header(&self) -> Header {
        let mut header = Header::new(self.alg);
        header.kid = self.public["kid"].as_str().map(str::to_owned);
        header
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.private).unwrap()
    }
}

/// What the issuer answers, and how often it was asked.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Published {
    pub(crate) async fn serve(body: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let published = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        published.publish(body);
        let served = published.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                served.asked.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = served
                    .answer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        published
    }

    fn raw(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn publish(&self, body: &Value) {
        self.raw(ok(&body.to_string()));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn ok(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

const ISSUER: &str = "https://issuer.example";

pub(crate) fn settings(published: &Published) -> ExternalIssuerSettings {
    serde_json::from_value(json!({
        "issuer": ISSUER,
        "jwks_url": format!("http://{}/jwks.json", published.address),
        "audience": "halcyon",
        "algorithms": ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
    }))
    .unwrap()
}

struct Fixture {
    issuer: ExternalIssuer,
    published: Published,
    clock: ManualClock,
}

impl Fixture {
    async fn new(signers: &[&Signer]) -> Self {
        let published = Published::serve(&document(signers)).await;
        let clock = ManualClock::at(SystemClock.now());
        let issuer = ExternalIssuer::new(settings(&published), Arc::new(clock.clone())).unwrap();
        Self {
            issuer,
            published,
            clock,
        }
    }

    fn good(&self) -> Value {
        let now = self.clock.now().timestamp();
        json!({
            "iss": ISSUER, "aud": "halcyon", "sub": "u-1", "iat": now, "nbf": now, "exp": now + 300,
            "org": "0198c0de-0000-7000-8000-000000000001", "email": "A@x.org", "name": "A",
            "roles": ["datasource:operator", "something-else", "datasource:viewer"],
        })
    }

    async fn holds(&self, token: &str) -> bool {
        self.issuer.verify(token).await.is_ok()
    }
}

pub(crate) fn document(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.public.clone()).collect::<Vec<_>>()})
}

#[tokio::test]
async fn a_good_token_holds_with_every_kind_of_key() {
    let kinds = [
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ];
    let signers: Vec<_> = kinds
        .iter()
        .map(|alg| Signer::new(*alg, &format!("{alg:?}")))
        .collect();
    let fixture = Fixture::new(&signers.iter().collect::<Vec<_>>()).await;
    for signer in &signers {
        let token = signer.sign(&fixture.good());
        assert!(fixture.issuer.claims(&token));
        let claims = fixture.issuer.verify(&token).await.unwrap();
        assert_eq!(claims.subject, "u-1");
        assert_eq!(claims.roles, [Role::Viewer, Role::Operator]);
        assert_eq!(
            (claims.email.as_deref(), claims.name.as_deref()),
            (Some("a@x.org"), Some("A"))
        );
        assert!(claims.organization.is_some());
    }
    assert_eq!(fixture.published.asked(), 1, "the keys are kept");
}

#[tokio::test]
async fn every_claim_is_checked() {
    let signer = Signer::new(Algorithm::EdDSA, "k");
    let fixture = Fixture::new(&[&signer]).await;
    for claim in ["iss", "aud", "sub", "iat", "exp"] {
        let mut claims = fixture.good();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(!fixture.holds(&signer.sign(&claims)).await, "without {claim}");
    }
    let now = fixture.clock.now().timestamp();
    let with = |claim: &str, value: Value| {
        let mut claims = fixture.good();
        claims[claim] = value;
        signer.sign(&claims)
    };
    let wrong = [
        ("iss", json!("https://issuer.example/")),
        ("iss", json!([ISSUER])),
        ("aud", json!("another")),
        ("aud", json!(["another"])),
        ("aud", json!(["halcyon", 7])),
        ("aud", json!({"halcyon": true})),
        ("sub", json!("")),
        ("sub", json!("a\u{0}b")),
        ("sub", json!("x".repeat(256))),
        ("sub", json!(7)),
        ("exp", json!(now - 31)),
        ("exp", json!(now + 25 * 3600)),
        ("exp", json!("tomorrow")),
        ("nbf", json!(now + 60)),
        ("nbf", json!("now")),
        ("iat", json!(now + 60)),
        ("iat", json!(now - 25 * 3600)),
        ("org", json!("default")),
        ("org", json!(7)),
    ];
    for (claim, value) in wrong {
        assert!(
            !fixture.holds(&with(claim, value.clone())).await,
            "{claim} = {value}"
        );
    }
    for (claim, value) in [
        ("aud", json!(["another", "halcyon"])),
        ("exp", json!(now as f64 + 60.5)),
        ("org", Value::Null),
        ("roles", json!("openid datasource:admin")),
        ("roles", json!({"datasource:admin": true})),
    ] {
        assert!(
            fixture.holds(&with(claim, value.clone())).await,
            "{claim} = {value}"
        );
    }
    let mut late = fixture.good();
    late["exp"] = json!(now + 1);
    let late = signer.sign(&late);
    fixture.clock.advance(TimeDelta::seconds(30));
    assert!(fixture.holds(&late).await, "clocks may differ a little");
    fixture.clock.advance(TimeDelta::seconds(1));
    assert!(!fixture.holds(&late).await);
}

#[tokio::test]
async fn nothing_in_a_token_chooses_how_it_is_checked() {
    let (rsa, ec) = (
        Signer::new(Algorithm::RS256, "rsa"),
        Signer::new(Algorithm::ES256, "ec"),
    );
    let fixture = Fixture::new(&[&rsa, &ec]).await;
    let claims = fixture.good();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in ["none", "None", "nOnE", ""] {
        let token = format!("{}.{}.", part(&json!({"alg": alg, "kid": "rsa"})), part(&claims));
        assert!(!fixture.holds(&token).await, "{alg}");
    }
    // The public key as the secret of an HMAC, in each form in which it goes around.
    let modulus = URL_SAFE_NO_PAD.decode(rsa.public["n"].as_str().unwrap()).unwrap();
    for secret in [
        modulus,
        rsa.public["n"].as_str().unwrap().into(),
        rsa.public.to_string().into(),
    ] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("rsa".into());
        let token = encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
        assert!(!fixture.holds(&token).await);
    }
    // Another's key: of the same name, brought along, or pointed to.
    let stranger = Signer::new(Algorithm::RS256, "rsa");
    assert!(!fixture.holds(&stranger.sign(&claims)).await);
    let mut header = stranger.header();
    header.jku = Some(format!("http://{}/evil.json", fixture.published.address));
    header.x5u.clone_from(&header.jku);
    header.jwk = serde_json::from_value(stranger.public.clone()).ok();
    assert!(header.jwk.is_some());
    assert!(
        !fixture
            .holds(&encode(&header, &claims, &stranger.private).unwrap())
            .await
    );
    // A right signature under another key's name, under none, with what is not understood, of another type.
    let changed = |change: &dyn Fn(&mut Header)| {
        let mut header = rsa.header();
        change(&mut header);
        encode(&header, &claims, &rsa.private).unwrap()
    };
    assert!(
        !fixture
            .holds(&changed(&|header| header.kid = Some("ec".into())))
            .await
    );
    assert!(!fixture.holds(&changed(&|header| header.kid = None)).await);
    assert!(
        !fixture
            .holds(&changed(&|header| header.crit = Some(vec!["b64".into()])))
            .await
    );
    assert!(
        !fixture
            .holds(&changed(&|header| header.typ = Some("logout+jwt".into())))
            .await
    );
    assert!(
        fixture
            .holds(&changed(&|header| header.typ = Some("at+JWT".into())))
            .await
    );
    // An algorithm that fits the key and that the settings do not name.
    assert!(
        !fixture
            .holds(&changed(&|header| header.alg = Algorithm::RS512))
            .await
    );
    let token = rsa.sign(&claims);
    let (head, _) = token.rsplit_once('.').unwrap();
    for broken in [
        head,
        &format!("{head}."),
        &token[..token.len() - 4],
        &format!("{token}.x"),
    ] {
        assert!(!fixture.holds(broken).await, "{broken}");
    }
    let mut other = claims.clone();
    other["sub"] = json!("root");
    let parts: Vec<&str> = token.split('.').collect();
    assert!(
        !fixture
            .holds(&format!("{}.{}.{}", parts[0], part(&other), parts[2]))
            .await
    );
    assert!(fixture.holds(&token).await);
    assert!(!fixture.holds(&"x".repeat(20_000)).await);
}

#[tokio::test]
async fn a_published_key_is_used_for_what_it_is_for_only() {
    let good = Signer::new(Algorithm::ES256, "good");
    let changes: [(&str, Value); 9] = [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
        ("alg", json!("nonsense")),
        ("crv", json!("P-521")),
        ("kty", json!("oct")),
        ("d", json!("secret")),
        ("x", json!("AAAA")),
    ];
    for (field, value) in changes {
        let bad = Signer::new(Algorithm::ES256, "bad");
        let mut public = bad.public.clone();
        public[field] = value.clone();
        let fixture = Fixture::new(&[&good]).await;
        fixture.published.publish(&json!({"keys": [good.public, public]}));
        assert!(fixture.holds(&good.sign(&fixture.good())).await);
        assert!(
            !fixture.holds(&bad.sign(&fixture.good())).await,
            "{field} = {value}"
        );
    }
    let (one, two) = (
        Signer::new(Algorithm::ES256, "twin"),
        Signer::new(Algorithm::ES256, "twin"),
    );
    let fixture = Fixture::new(&[&good, &one, &two]).await;
    assert!(
        !fixture.holds(&one.sign(&fixture.good())).await,
        "a name that two share names none"
    );
    let weak = json!({
        "kty": "RSA", "kid": "weak", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB",
    });
    assert!(
        keys::read(json!({"keys": [weak]}).to_string().as_bytes())
            .unwrap()
            .is_empty()
    );
    let many: Vec<_> = (0..101).map(|_| good.public.clone()).collect();
    assert!(keys::read(json!({"keys": many}).to_string().as_bytes()).is_err());
}

#[tokio::test]
async fn keys_are_fetched_for_a_new_name_by_age_and_not_too_often() {
    let (one, two) = (
        Signer::new(Algorithm::EdDSA, "one"),
        Signer::new(Algorithm::EdDSA, "two"),
    );
    let fixture = Fixture::new(&[&one]).await;
    assert!(fixture.holds(&one.sign(&fixture.good())).await);
    fixture.published.publish(&document(&[&one, &two]));
    assert!(!fixture.holds(&two.sign(&fixture.good())).await, "asked just now");
    assert_eq!(fixture.published.asked(), 1);
    fixture.clock.advance(TimeDelta::seconds(10));
    assert!(fixture.holds(&two.sign(&fixture.good())).await);
    assert_eq!(fixture.published.asked(), 2);
    for round in 0..20 {
        let made_up = Signer::new(Algorithm::EdDSA, &format!("made up {round}"));
        assert!(!fixture.holds(&made_up.sign(&fixture.good())).await);
    }
    assert_eq!(
        fixture.published.asked(),
        2,
        "made-up names cost the issuer nothing"
    );
    // The issuer is down: what is known goes on for a day.
    fixture
        .published
        .raw("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into());
    fixture.clock.advance(TimeDelta::minutes(11));
    assert!(
        fixture.holds(&one.sign(&fixture.good())).await,
        "old keys are used while new ones come"
    );
    halcyon_tests::wait::eventually(std::time::Duration::from_secs(10), || async {
        fixture.published.asked() == 3
    })
    .await
    .unwrap();
    fixture.clock.advance(TimeDelta::hours(24));
    let error = fixture
        .issuer
        .verify(&one.sign(&fixture.good()))
        .await
        .unwrap_err();
    assert!(matches!(error, ExternalError::NoKeys), "{error}");
}

#[tokio::test]
async fn a_sender_who_goes_away_breaks_off_nothing_that_others_wait_for() {
    let signer = Signer::new(Algorithm::EdDSA, "k");
    let mut fixture = Fixture::new(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&fixture.published);
    settings.jwks_url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    fixture.issuer = ExternalIssuer::new(settings, Arc::new(fixture.clock.clone())).unwrap();
    let token = signer.sign(&fixture.good());
    let mut issuer_side = tokio::select! {
        _ = fixture.issuer.verify(&token) => panic!("nobody has answered yet"),
        accepted = listener.accept() => accepted.unwrap().0,
    };
    // Whoever asked first is gone; the issuer answers now.
    let answer = ok(&document(&[&signer]).to_string());
    let mut request = [0; 4096];
    let _ = issuer_side.read(&mut request).await;
    let _ = issuer_side.write_all(answer.as_bytes()).await;
    assert!(fixture.holds(&token).await);
}

#[tokio::test]
async fn odd_answers_of_the_issuer_are_not_believed() {
    let signer = Signer::new(Algorithm::EdDSA, "k");
    let elsewhere = Published::serve(&document(&[&signer])).await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        elsewhere.address
    );
    let huge = ok(&format!(
        "{{\"keys\": [], \"x\": \"{}\"}}",
        "x".repeat(300 * 1024)
    ));
    for answer in [redirect, huge, ok("<html>"), ok("{\"keys\": []}"), ok("[]")] {
        let fixture = Fixture::new(&[]).await;
        fixture.published.raw(answer);
        let error = fixture
            .issuer
            .verify(&signer.sign(&fixture.good()))
            .await
            .unwrap_err();
        assert!(matches!(error, ExternalError::NoKeys), "{error}");
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect is not followed");
}

#[tokio::test]
async fn settings_that_invite_forgery_are_refused() {
    let published = Published::serve(&json!({})).await;
    let good = settings(&published);
    let tries = |settings: ExternalIssuerSettings| ExternalIssuer::new(settings, Arc::new(SystemClock));
    assert!(tries(good.clone()).is_ok());
    for url in [
        "http://issuer.example/jwks",
        "ftp://127.0.0.1/",
        "nonsense",
        "http://localhost.evil.example/",
    ] {
        let settings = ExternalIssuerSettings {
            jwks_url: url.into(),
            ..good.clone()
        };
        assert!(tries(settings).is_err(), "{url}");
    }
    assert!(
        tries(ExternalIssuerSettings {
            audience: String::new(),
            ..good.clone()
        })
        .is_err()
    );
    assert!(
        tries(ExternalIssuerSettings {
            algorithms: Vec::new(),
            ..good
        })
        .is_err()
    );
    for algorithm in ["HS256", "none"] {
        assert!(serde_json::from_value::<SigningAlgorithm>(json!(algorithm)).is_err());
    }
}
