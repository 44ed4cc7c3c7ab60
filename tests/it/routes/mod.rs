//! The route table over real sockets: what leads where, and with which limits.

mod answers;
mod bad_input;
mod limits;
mod limits_sending;
mod reload;

use crate::support::client::{Answer, Client, Request};
use crate::support::folder::Folder;
use crate::support::server::Server;

/// The folder's table.
const TABLE: &str = "nessen.toml";

/// A server with this table, in which `$` stands for the folder.
#[track_caller]
fn serve(folder: &Folder, table: &str, env: &[(&str, &str)]) -> Server {
    write(folder, table);
    let ours = [("DRAIN_DELAY", "0"), ("MAX_CONNECTIONS_PER_IP", "0")];
    Server::start_with(&[&ours, env].concat(), &["--config", &folder.path(TABLE)])
}

fn write(folder: &Folder, table: &str) {
    folder.write(TABLE, table.replace('$', &folder.path("")));
}

/// One request on a connection of its own.
#[track_caller]
fn ask(server: &Server, request: &Request) -> Answer {
    Client::open(server.address).ask(request)
}

#[track_caller]
fn get(server: &Server, path: &str) -> Answer {
    ask(server, &Request::new("GET", path))
}

#[track_caller]
fn text(server: &Server, path: &str) -> String {
    let answer = get(server, path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    String::from_utf8(answer.body).unwrap()
}
