use super::*;
use crate::policy::Policy;

fn route(number: u32, host: Option<&str>, prefix: &str) -> Route {
    let host = host.map(str::to_owned);
    Route {
        host,
        prefix: prefix.to_owned(),
        policy: Arc::new(Policy::nothing(number)),
        target: Target::Nothing,
    }
}

fn table() -> RouteTable {
    let routes = vec![
        route(1, None, ""),
        route(2, None, "/api"),
        route(3, None, "/api/upload"),
        route(4, Some("example.com"), "/api"),
        route(5, Some("*.example.com"), ""),
        route(6, Some("*.eu.example.com"), ""),
        route(7, Some("a.eu.example.com"), "/x"),
    ];
    RouteTable::new(routes, route(0, None, ""))
}

fn chosen(table: &RouteTable, host: &str, path: &str) -> u32 {
    let request = Request::builder().uri(path).header("host", host).body(()).unwrap();
    table.choose(&request).policy.route
}

#[test]
fn the_longest_prefix_wins_on_segment_borders() {
    let table = table();
    for (path, number) in [
        ("/", 1),
        ("/apis", 1),
        ("/api", 2),
        ("/api/", 2),
        ("/api/uploads", 2),
        ("/api/upload", 3),
        ("/api/upload/x", 3),
        ("/API", 1),
    ] {
        assert_eq!(chosen(&table, "other", path), number, "{path}");
    }
}

#[test]
fn a_path_cannot_be_spelled_past_its_route() {
    let table = table();
    for path in
        ["/%61pi/upload/x", "/x/../api/upload", "//api//upload", "/api/%2e%2e/api/upload", "/api%2fupload"]
    {
        assert_eq!(chosen(&table, "other", path), 3, "{path}");
    }
    assert_eq!(chosen(&table, "other", "/api/upload/../.."), 1);
}

#[test]
fn a_host_that_is_named_comes_first() {
    let table = table();
    for (host, path, number) in [
        ("example.com", "/api", 4),
        ("EXAMPLE.com:8080", "/api/upload", 4),
        ("example.com", "/", 1),
        ("www.example.com", "/api", 5),
        ("b.eu.example.com.", "/", 6),
        ("a.eu.example.com", "/x/y", 7),
        ("a.eu.example.com", "/y", 6),
    ] {
        assert_eq!(chosen(&table, host, path), number, "{host} {path}");
    }
}

#[test]
fn where_no_route_fits_there_is_one_for_that() {
    let table = RouteTable::new(vec![route(1, None, "/api")], route(9, None, ""));
    assert_eq!(chosen(&table, "any", "/other"), 9);
}

#[test]
fn what_is_below_a_route_is_told_whatever_its_spelling() {
    let route = route(1, None, "/caf%C3%A9/@me");
    for (path, rest) in [
        ("/caf%C3%A9/@me", Some("/")),
        ("/caf%c3%a9/%40me/", Some("/")),
        ("/caf\u{e9}/@me/a%20b//c/..", Some("/a%20b//c/..")),
        ("/caf%C3%A9/@men", None),
        ("/caf%C3%A9", None),
        ("//caf%C3%A9/@me", None),
        ("/x/../caf%C3%A9/@me", None),
        ("/caf%C3%A9%2f@me", None),
    ] {
        assert_eq!(route.rest(path), rest, "{path}");
    }
}

/// The first route that fits, as one would look for it who goes through them all.
fn one_by_one(table: &RouteTable, host: Option<&str>, path: &str) -> u32 {
    let fits = |route: &&Arc<Route>| {
        let here = match (route.host.as_deref(), host) {
            (None, _) => true,
            (Some(pattern), Some(host)) => crate::host::matches(pattern, host),
            (Some(_), None) => false,
        };
        // A route that is alone and for everything is also for `OPTIONS *`, which is no path.
        let all = table.routes.len() == 1 && route.host.is_none() && route.prefix.is_empty();
        here && (all || route.takes(&normal(path)))
    };
    table.routes.iter().find(fits).unwrap_or(&table.nothing).policy.route
}

/// Numbers that follow from a seed (SplitMix64), so that what failed once fails again.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % most
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// So few different parts that hosts and paths meet.
    fn name(&mut self, letters: &[&str]) -> String {
        (0..=self.below(4)).map(|_| self.of(letters)).collect::<Vec<_>>().join(".")
    }

    fn path(&mut self, segments: &[&str]) -> String {
        (0..self.below(5)).map(|_| format!("/{}", self.of(segments))).collect()
    }

    fn table(&mut self) -> RouteTable {
        let routes = (1..=self.below(40)).map(|number| {
            let host = match self.below(4) {
                0 => None,
                1 => Some(format!("*.{}", self.name(&["a", "b", "aa"]))),
                _ => Some(self.name(&["a", "b", "B", "aa"])),
            };
            let prefix = normal(&self.path(&["a", "b", "aa", "%2F", "~"])).into_owned();
            route(u32::try_from(number).unwrap(), host.as_deref(), &prefix)
        });
        let routes = routes.collect();
        RouteTable::new(routes, route(0, None, ""))
    }
}

#[test]
fn the_index_finds_what_a_search_through_all_routes_finds() {
    let mut found = std::collections::HashSet::new();
    for seed in 0..2_000 {
        let mut numbers = Numbers(seed);
        let table = numbers.table();
        for _ in 0..50 {
            let long = "a.".repeat(if numbers.below(8) == 0 { 120 + numbers.below(20) } else { 0 });
            let name = long + &numbers.name(&["a", "b", "A", "aa", "", "c"]);
            let host = format!("{name}{}", numbers.of(&["", "", ".", ":80", ".:8080"]));
            let segments = ["a", "b", "aa", "%61", "", ".", "..", "b;x", "c", "A", "%2f", "%7e", "a%2Fb"];
            let path = format!("{}{}", numbers.path(&segments), numbers.of(&["", "/"]));
            let path = if path.is_empty() { numbers.of(&["/", "*"]) } else { &path };
            let mut request = Request::builder().uri(path);
            if numbers.below(8) > 0 {
                request = request.header("host", &host);
            }
            let request = request.body(()).unwrap();
            let chosen = table.choose(&request).policy.route;
            let expected = one_by_one(&table, host_of(&request), path);
            assert_eq!(chosen, expected, "seed {seed}: {host:?} {path:?} among {:#?}", table.routes);
            found.insert(chosen);
        }
    }
    assert!(found.len() > 30, "most places of a table are reached: {found:?}");
}

#[test]
fn a_host_longer_than_any_name_is_below_its_wildcard() {
    let table = table();
    for letters in [200, 250, 300, 5_000] {
        let host = format!("{}.eu.example.com", "x".repeat(letters));
        assert_eq!(chosen(&table, &host, "/"), 6, "{letters}");
    }
}

/// The least time of several tries, which is what the machine's other work leaves alone.
fn least(table: &RouteTable, paths: &[&str]) -> std::time::Duration {
    let requests: Vec<_> = paths
        .iter()
        .map(|path| Request::builder().uri(*path).header("host", "a.b").body(()).unwrap())
        .collect();
    let try_once = || {
        let begun = std::time::Instant::now();
        for request in &requests {
            std::hint::black_box(table.choose(request));
        }
        begun.elapsed()
    };
    (0..100).map(|_| try_once()).min().unwrap()
}

#[test]
fn what_a_choice_costs_does_not_grow_with_the_routes() {
    // A search through all of them takes hundreds of times as long for the larger table.
    let took = [10, 10_000].map(|count| {
        let of_path = (0..count).map(|number| route(number, None, &format!("/r{number}")));
        let of_host = (0..count).map(|number| route(number, Some(&format!("*.h{number}.b")), ""));
        let table = RouteTable::new(of_path.chain(of_host).collect(), route(0, None, ""));
        least(&table, &["/r0/x", "/r9/x/y/z", "/", "/other", "/r5"])
    });
    assert!(took[1] < 20 * took[0], "{took:?}");
}

#[test]
fn what_a_choice_costs_grows_no_faster_than_the_path() {
    // Sixteen times as long a path: what hashes all of it for each segment takes 256 times as long.
    let prefixes = ["/a".repeat(4 << 10), String::new()];
    let routes = prefixes.iter().map(|prefix| route(1, None, prefix)).collect();
    let table = RouteTable::new(routes, route(0, None, ""));
    for piece in ["/a", "/b", "//", "/.", "/a/../", "/%61", "/;"] {
        let took = [512, 8 << 10].map(|length| least(&table, &[piece.repeat(length / piece.len()).as_str()]));
        assert!(took[1] < 64 * took[0], "{piece}: {took:?}");
    }
}
