use std::sync::atomic::{AtomicU32, Ordering};

use super::test_server::{A, AAAA, DnsServer, Question, Reply};
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

fn names(question: &[Question]) -> Vec<(&str, u16)> {
    question.iter().map(|question| (&*question.name, question.kind)).collect()
}

async fn fails(resolver: &Resolver, host: &str) -> String {
    resolver.lookup(host).await.unwrap_err().to_string()
}

#[tokio::test]
async fn an_address_is_its_own_and_nobody_is_asked() {
    let server = DnsServer::start(|_| Reply::ServFail).await;
    let resolver = Resolver::with_nameserver(server.address);
    for (host, address) in [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("[::1]", "::1")] {
        let found = resolver.lookup(host).await.unwrap();
        assert_eq!(found, Addresses { addresses: ips(&[address]), ttl: Duration::MAX });
    }
    assert_eq!(resolver.lookup("localhost").await.unwrap().addresses, ips(&["127.0.0.1"]));
    assert_eq!(resolver.lookup("app.LOCALHOST.").await.unwrap().addresses, ips(&["127.0.0.1"]));
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn addresses_are_sorted_and_hold_for_the_shortest_ttl() {
    let server = DnsServer::start(|question| match &*question.name {
        "my_app." => Reply::Addresses(
            ips(&["192.0.2.20", "192.0.2.3", "192.0.2.20"]),
            if question.tcp { 1 } else { 7 },
        ),
        "zero." => Reply::Addresses(ips(&["192.0.2.1"]), 0),
        _ => Reply::Alias(30, ip("192.0.2.9"), 60),
    })
    .await;
    let resolver = Resolver::with_nameserver(server.address);
    let found = resolver.lookup("my_app").await.unwrap();
    assert_eq!(
        found,
        Addresses { addresses: ips(&["192.0.2.3", "192.0.2.20"]), ttl: Duration::from_secs(7) }
    );
    assert_eq!(resolver.lookup("zero").await.unwrap().ttl, Duration::from_secs(1));
    let alias = resolver.lookup("alias").await.unwrap();
    assert_eq!(alias, Addresses { addresses: ips(&["192.0.2.9"]), ttl: Duration::from_secs(30) });
}

#[tokio::test]
async fn every_lookup_asks_again() {
    let count = AtomicU32::new(0);
    let server = DnsServer::start(move |_| {
        let last = count.fetch_add(1, Ordering::Relaxed);
        Reply::Addresses(vec![IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()])], 3600)
    })
    .await;
    let resolver = Resolver::with_nameserver(server.address);
    for last in 0..4 {
        assert_eq!(resolver.lookup("app").await.unwrap().addresses, [IpAddr::from([192, 0, 2, last])]);
    }
}

#[tokio::test]
async fn ipv6_is_taken_only_where_there_is_no_ipv4() {
    let server = DnsServer::start(|question| match (&*question.name, question.kind) {
        ("six." | "both.", AAAA) => Reply::Addresses(ips(&["2001:db8::2", "2001:db8::1"]), 5),
        ("both.", A) => Reply::Addresses(ips(&["192.0.2.1"]), 5),
        ("ill.", A) => Reply::ServFail,
        _ => Reply::NoData,
    })
    .await;
    let resolver = Resolver::with_nameserver(server.address);
    assert_eq!(resolver.lookup("six").await.unwrap().addresses, ips(&["2001:db8::1", "2001:db8::2"]));
    assert_eq!(resolver.lookup("both").await.unwrap().addresses, ips(&["192.0.2.1"]));
    assert_eq!(fails(&resolver, "neither").await, "neither: the name has no address");
    assert_eq!(fails(&resolver, "ill").await, "ill: the name servers failed to answer");
    assert!(!names(&server.asked()).contains(&("ill.", AAAA)), "an ill server says nothing about IPv4");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_at_once() {
    let server = DnsServer::start(|_| Reply::NxDomain).await;
    let resolver = Resolver::with_nameserver(server.address);
    assert_eq!(fails(&resolver, "app").await, "app: no such name");
    assert_eq!(names(&server.asked()), [("app.", A)]);
    for host in ["", ".", "a..b", "a b", "exämple", "a\nb", "-", &"a".repeat(300)] {
        assert_eq!(fails(&resolver, host).await, format!("{host}: not a valid name"), "{host:?}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_deadline() {
    let server = DnsServer::start(|_| Reply::Silence).await;
    let resolver = Resolver::with_nameserver(server.address);
    let began = tokio::time::Instant::now();
    assert_eq!(fails(&resolver, "app").await, "app: the name servers did not answer");
    assert!(began.elapsed() <= DEADLINE, "{:?}", began.elapsed());
    // The clock runs ahead of the server's socket.
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while server.asked().len() < 2 && std::time::Instant::now() < until {
        tokio::task::yield_now().await;
    }
    assert!(server.asked().len() >= 2, "a lost question was not asked again");
}

#[tokio::test]
async fn an_answer_too_long_for_udp_comes_over_tcp() {
    let many: Vec<IpAddr> = (0..=255).map(|last| IpAddr::from([10, 0, 0, last])).collect();
    let expected = many.clone();
    let server =
        DnsServer::start(
            move |question| {
                if question.tcp { Reply::Addresses(many.clone(), 5) } else { Reply::Truncated }
            },
        )
        .await;
    let found = Resolver::with_nameserver(server.address).lookup("headless").await.unwrap();
    assert_eq!(found.addresses, expected);
}

#[test]
fn search_domains_are_tried_in_the_order_of_resolv_conf() {
    let pod = b"nameserver 127.0.0.1\nsearch ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
    let names = Names::parse(pod, b"");
    assert_eq!(
        names.candidates("app"),
        ["app.ns.svc.cluster.local.", "app.svc.cluster.local.", "app.cluster.local.", "app."]
    );
    assert_eq!(names.candidates("app.other").first().unwrap(), "app.other.ns.svc.cluster.local.");
    assert_eq!(names.candidates("app.example.com."), ["app.example.com."]);
    let plain = Names::parse(b"nameserver 127.0.0.1\nsearch lan\n", b"");
    assert_eq!(plain.candidates("db.example.com"), ["db.example.com.", "db.example.com.lan."]);
    assert_eq!(plain.candidates("db"), ["db.lan.", "db."]);
}

#[tokio::test]
async fn a_search_domain_that_is_ill_does_not_hide_the_name() {
    let server = DnsServer::start(|question| match &*question.name {
        "app.ill." | "gone.ill." => Reply::ServFail,
        "app." => Reply::Addresses(ips(&["192.0.2.1"]), 5),
        _ => Reply::NxDomain,
    })
    .await;
    let names = |search| Names::of_server(server.address).searching(search, 5);
    let resolver = Resolver::fixed(names(&["ill.", "well."]));
    assert_eq!(resolver.lookup("app").await.unwrap().addresses, ips(&["192.0.2.1"]));
    assert_eq!(fails(&resolver, "gone").await, "gone: the name servers failed to answer");
    assert_eq!(fails(&Resolver::fixed(names(&["well."])), "gone").await, "gone: no such name");
}

#[tokio::test]
async fn hosts_come_first_and_work_without_a_name_server() {
    let hosts = b"# comment\n127.0.0.1 localhost\n::1 localhost ip6-localhost\n192.0.2.7\tApp app.lan # us\nnonsense x\n";
    let resolver = Resolver::fixed(Names::parse(b"", hosts));
    for (host, address) in [("app", "192.0.2.7"), ("APP.lan.", "192.0.2.7"), ("ip6-localhost", "::1")] {
        assert_eq!(resolver.lookup(host).await.unwrap().addresses, ips(&[address]), "{host}");
    }
    assert_eq!(resolver.lookup("localhost").await.unwrap().addresses, ips(&["127.0.0.1"]));
    assert_eq!(fails(&resolver, "x").await, "x: no name server is configured");
}

#[tokio::test]
async fn the_system_knows_itself() {
    let found = Resolver::system().lookup("localhost").await.unwrap();
    assert!(found.addresses.iter().all(IpAddr::is_loopback), "{found:?}");
}
