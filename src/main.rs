fn main() -> std::process::ExitCode {
    let config = match nessen::config::Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::from(78);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(config.server.workers)
        .build()
        .unwrap();
    let outcome = runtime.block_on(nessen::server::Server::builder().config(config).run());
    match outcome {
        Ok(nessen::server::Outcome::Drained) => std::process::ExitCode::SUCCESS,
        Ok(_) => std::process::ExitCode::from(3),
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
