use super::*;
use crate::net::admission::Permits;

/// What a connection holds while it waits. Thousands do; so nothing is added here that could be in the
/// box of one at work, or in `rare::Rare`. Tokio adds 104 bytes to the task and rounds it up to a multiple of
/// 128, and holds 256 for the socket. With 16 bytes less of state an idle connection held 10 more: glibc then
/// finds no border of 128 right behind it, and leaves a gap.
#[tokio::test]
async fn a_connection_that_waits_holds_little() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut config = crate::config::Config::default();
    config.server.port = 0;
    let bound = crate::server::Server::builder().config(config).bind().await.unwrap();
    let stack = Arc::new(crate::server::stack::main(&bound.config, &bound.shared));
    let peer = ([127, 0, 0, 1], 1).into();
    let state = bound.registry.enter(|entry| ConnState::new(peer, Permits::none(), entry));
    let of_state = size_of_val(&*state);
    let of_task = size_of_val(&task(stream, state, bound.main.context.clone(), stack));
    assert_eq!((of_state, of_task), (208, 136));
}
