#![no_main]
nessen_fuzz::target!("proxy_protocol");
