//! P19: what users write cannot reach inside. A listener on loopback counts connections; nothing may make one.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{IpAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use http::Method;

use crate::{Error, Guard, Http, HttpError, Kind, Policy, Resolver, kind_of};

/// A listener on every address of loopback that counts who comes, and answers what it is told.
struct Inside {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Inside {
    fn answering(answer: impl Fn(u16) -> String) -> Self {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (came, answer) = (Arc::new(AtomicUsize::new(0)), answer(port));
        let counted = came.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, came }
    }

    fn silent() -> Self {
        Self::answering(|_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned())
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// Names of a test. Each question takes the next answer; the last one stays.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    fn of(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let names = names.iter().map(|(name, answers)| {
            let mut answers: Vec<Vec<IpAddr>> = answers.iter().map(parse).collect();
            answers.reverse();
            ((*name).to_owned(), answers)
        });
        Arc::new(Self(Mutex::new(names.collect())))
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let told = self
            .0
            .lock()
            .unwrap()
            .get_mut(host.trim_end_matches('.'))
            .map(|answers| {
                if answers.len() > 1 {
                    answers.pop().unwrap()
                } else {
                    answers[0].clone()
                }
            });
        match told {
            Some(told) => Ok(told),
            None => crate::SystemResolver.resolve(host).await,
        }
    }
}

fn http(guard: Guard) -> Http {
    Http::new(guard, Duration::from_secs(5)).unwrap()
}

async fn get(http: &Http, url: &str) -> Result<u16, HttpError> {
    let url = url.parse().unwrap();
    let request = http.request(Method::GET, url).build().unwrap();
    http.send(request).await.map(|answer| answer.status().as_u16())
}

/// Ways to write an address inside. `PORT` stands for the listener's port.
const HOSTS: &[&str] = &[
    // Loopback, as people write it and as parsers read it.
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.0x1",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "１２７.０.０.１",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0.0.0.0",
    "0",
    "0.1.2.3",
    // IPv6, and IPv4 carried in it.
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::]",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    // Networks of organisations and clouds.
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.0.1",
    "192.168.255.255",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.170.2",
    "168.63.129.16",
    "2822734096",
    "[::ffff:168.63.129.16]",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "255.255.255.255",
    "240.0.0.1",
    // Names that stand for such addresses.
    "inside.example",
    "metadata.example",
    "both.example",
    "mapped.example",
];

fn inside_names() -> Arc<Names> {
    Names::of(&[
        ("inside.example", &[&["127.0.0.1"]]),
        ("metadata.example", &[&["169.254.169.254"]]),
        ("both.example", &[&["::1", "10.1.2.3"]]),
        ("mapped.example", &[&["::ffff:127.0.0.1"]]),
    ])
}

#[tokio::test]
async fn no_way_to_write_an_address_reaches_inside() {
    assert!(HOSTS.len() >= 60);
    let inside = Inside::silent();
    let guard = Guard::over(Policy::default(), inside_names());
    let http = http(guard.clone());
    for host in HOSTS {
        for url in [
            format!("http://{host}:{}/latest/meta-data/", inside.port),
            format!("https://user:pass@{host}:{}/", inside.port),
        ] {
            let answer = get(&http, &url).await;
            // Some resolvers know no name with the root's dot.
            let refused = matches!(answer, Err(HttpError::Host(Error::Refused { .. })))
                || host.ends_with('.') && matches!(answer, Err(HttpError::Host(Error::Unresolved { .. })));
            assert!(refused, "{url}: {answer:?}");
        }
    }
    // Connectors that are not HTTP take hosts as they are; what no resolver knows is not reached either.
    for host in HOSTS {
        let connection = guard.connect(host, inside.port).await;
        let refused = matches!(connection, Err(Error::Refused { .. } | Error::Unresolved { .. }));
        assert!(refused, "{host}: {connection:?}");
    }
    assert_eq!(inside.came(), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    let inside = Inside::silent();
    // Public when it is asked for first, inside ever after; and the other way round.
    let names = Names::of(&[("rebind.example", &[&["203.0.114.1"], &["127.0.0.1"]])]);
    let guard = Guard::over(Policy::default(), names);
    assert_eq!(
        guard.resolve("rebind.example").await.unwrap(),
        ["203.0.114.1".parse::<IpAddr>().unwrap()]
    );
    for _ in 0..3 {
        let url = format!("http://rebind.example:{}/", inside.port);
        let answer = get(&http(guard.clone()), &url).await;
        assert!(matches!(answer, Err(HttpError::Host(_))), "{answer:?}");
        assert!(guard.connect("rebind.example", inside.port).await.is_err());
    }
    // Of an answer with both, only the public address is connected to.
    let names = Names::of(&[("mixed.example", &[&["127.0.0.1", "203.0.114.1", "::1"]])]);
    let found = Guard::over(Policy::default(), names)
        .resolve("mixed.example")
        .await;
    assert_eq!(found.unwrap(), ["203.0.114.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(inside.came(), 0);
}

#[tokio::test]
async fn redirects_do_not_lead_inside_or_elsewhere() {
    let inside = Inside::silent();
    let target = inside.port;
    for location in [
        format!("http://127.0.0.1:{target}/"),
        format!("http://localhost:{target}/"),
        format!("http://[::1]:{target}/"),
        format!("http://2130706433:{target}/"),
        format!("//inside.example:{target}/"),
        format!("https://outside.example:{target}/"),
        "file:///etc/passwd".to_owned(),
        "gopher://outside.example/".to_owned(),
    ] {
        // `outside.example` may be reached: it is allowed by its name, and stands for the listener's address.
        let outside = Inside::answering(|_| {
            format!(
                "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        });
        let policy = Policy {
            allow: vec!["outside.example".parse().unwrap()],
        };
        let names = Names::of(&[
            ("outside.example", &[&["127.0.0.1"]]),
            ("inside.example", &[&["127.0.0.1"]]),
        ]);
        let http = http(Guard::over(policy, names));
        let answer = get(&http, &format!("http://outside.example:{}/", outside.port)).await;
        // What is no HTTP is not followed: the redirect itself is the answer.
        let ends = matches!(answer, Err(_) | Ok(302));
        assert!(ends, "{location}: {answer:?}");
        assert_eq!(outside.came(), 1, "{location}");
    }
    assert_eq!(inside.came(), 0);
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let server = Inside::answering(|port| {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    });
    let http = http(Guard::new(Policy::default().with_loopback()));
    let answer = get(&http, &format!("http://127.0.0.1:{}/", server.port)).await;
    assert!(matches!(answer, Err(HttpError::Redirects)), "{answer:?}");
    assert_eq!(server.came(), 6, "the request and five redirects");
}

#[tokio::test]
async fn what_is_allowed_is_reached() {
    let inside = Inside::silent();
    let names = Names::of(&[
        ("siem.corp.example", &[&["127.0.0.1"]]),
        ("deep.siem.corp.example", &[&["127.0.0.1"]]),
        ("corp.example", &[&["127.0.0.1"]]),
        ("evilcorp.example", &[&["127.0.0.1"]]),
    ]);
    let with = |allow: &[&str]| {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        http(Guard::over(Policy { allow }, names.clone()))
    };
    let port = inside.port;
    for (allow, host, reached) in [
        (&["127.0.0.0/8"][..], "siem.corp.example", true),
        (&["127.0.0.1"], "127.0.0.1", true),
        (&["127.0.0.1"], "[::ffff:127.0.0.1]", true),
        (&["10.0.0.0/8"], "siem.corp.example", false),
        (&["siem.corp.example"], "SIEM.corp.example.", true),
        (&["siem.corp.example"], "deep.siem.corp.example", false),
        (&["*.corp.example"], "deep.siem.corp.example", true),
        (&["*.corp.example"], "corp.example", false),
        (&["*.corp.example"], "evilcorp.example", false),
        (&["siem.corp.example"], "127.0.0.1", false),
    ] {
        let answer = get(&with(allow), &format!("http://{host}:{port}/")).await;
        assert_eq!(answer.is_ok(), reached, "{allow:?} {host}: {answer:?}");
    }
    assert_eq!(inside.came(), 5);
}

#[tokio::test]
async fn public_addresses_are_allowed_and_other_schemes_are_not() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "168.63.129.15",
        "168.63.129.17",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        assert_eq!(kind_of(address.parse().unwrap()), Kind::Public, "{address}");
    }
    let http = http(Guard::new(Policy::default().with_loopback()));
    for url in ["ftp://127.0.0.1/", "ws://127.0.0.1/", "gopher://127.0.0.1/"] {
        assert!(
            matches!(get(&http, url).await, Err(HttpError::Scheme(_))),
            "{url}"
        );
    }
}

#[tokio::test]
async fn an_address_that_swallows_connections_does_not_hide_the_next_one() {
    let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = good.local_addr().unwrap().port();
    // Nobody accepts: once its queue is full, packets to it are dropped.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 2], port));
    silent.bind(address).unwrap();
    let _silent = silent.listen(1).unwrap();
    let mut queue = Vec::new();
    let filled = async {
        loop {
            queue.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(1), filled)
            .await
            .is_err()
    );
    let names = Names::of(&[
        ("two.example", &[&["127.0.0.2", "127.0.0.1"]]),
        ("none.example", &[&["127.0.0.3", "127.0.0.4"]]),
    ]);
    let guard = Guard::over(Policy::default().with_loopback(), names);
    let limit = Duration::from_secs(20);
    let stream = tokio::time::timeout(limit, guard.connect("two.example", port)).await;
    assert_eq!(
        stream.unwrap().unwrap().peer_addr().unwrap().ip(),
        "127.0.0.1".parse::<IpAddr>().unwrap()
    );
    // Those that refuse are all tried, and the last word is told.
    let refused = guard.connect("none.example", port).await;
    assert!(matches!(refused, Err(Error::Unreached { .. })), "{refused:?}");
}

#[test]
fn what_is_no_host_cannot_be_allowed() {
    for text in [
        "",
        "*",
        "*.",
        "a..b",
        "10.0.0.0/33",
        "10.0.0",
        "http://a.example",
        "a b",
        "a.example:80",
    ] {
        assert!(text.parse::<crate::Allowed>().is_err(), "{text}");
    }
    for text in ["10.0.0.0/8", "::1/128", "a.example", "*.b.example"] {
        assert_eq!(text.parse::<crate::Allowed>().unwrap().to_string(), text);
    }
    let list: Vec<crate::Allowed> = serde_json::from_str(r#"["10.1.2.3/8"]"#).unwrap();
    assert_eq!(serde_json::to_string(&list).unwrap(), r#"["10.0.0.0/8"]"#);
}

#[test]
fn folders_are_read_only_where_they_are_allowed_and_links_do_not_lead_out() {
    let base = std::env::temp_dir().join(format!("halcyon-egress-{}", std::process::id()));
    let (inside, outside) = (base.join("in/deep"), base.join("out"));
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, base.join("in/link")).unwrap();
    let none = Guard::new(Policy::default());
    let guard = none.clone().with_folders(vec![base.join("in")]);
    assert_eq!(none.folder(&inside), None);
    assert_eq!(guard.folder(&inside), inside.canonicalize().ok());
    for refused in ["out", "in/link", "in/../out", "in/deep/../../out", "in/none", ""] {
        assert_eq!(guard.folder(&base.join(refused)), None, "{refused}");
    }
    std::fs::remove_dir_all(&base).unwrap();
}
