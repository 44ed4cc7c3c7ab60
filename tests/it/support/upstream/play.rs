//! One connection of an upstream: reads a request, and goes through the steps of its answer.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::pause;
use super::super::websocket::Frame;
use super::super::wire::{Broken, Wire};
use super::Shared;
use super::faults::Step;
use super::script::{Follow, LONGEST, after_body, before_body, order, pattern};
use super::seen::Seen;

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Keep,
    Die,
    End,
}

/// Serves one connection to its end.
pub(super) fn serve(stream: Arc<TcpStream>, connection: usize, shared: &Shared) {
    let mut wire = Wire::new(stream);
    wire.wait(LONGEST);
    let mut dying = false;
    loop {
        if wire.pending().is_empty() && wire.fill().is_err() {
            return;
        }
        let request = match Seen::read(&mut wire) {
            Ok(request) => Seen { connection, unasked: shared.state().unasked.clone(), ..request },
            Err(broken) => return note(shared, "a head", broken),
        };
        shared.change(|state| state.begun += 1);
        if let Some(steps) = before_body(&request) {
            shared.change(|state| state.seen.push(request));
            play(&mut wire, steps, shared);
            return;
        }
        let request = match read_body(&mut wire, request, shared) {
            Ok(request) => request,
            Err(broken) => return note(shared, "a body", broken),
        };
        shared.change(|state| state.seen.push(request.clone()));
        if dying {
            return wire.close();
        }
        let mut steps = after_body(&request, &shared.name);
        if request.all("x-cut") == ["1"] {
            steps = steps.into_iter().map(Step::cut).collect();
        }
        let next = play(&mut wire, steps, shared);
        shared.change(|state| state.played.push(request.token().to_owned()));
        match next {
            Next::Keep => {}
            Next::Die => dying = true,
            Next::End => return,
        }
    }
}

/// A proxy may give a request up, but not send a crooked one.
fn note(shared: &Shared, what: &str, broken: Broken) {
    shared.change(|state| match broken {
        Broken::Syntax(fault) => state.broken.push(format!("{what}: {fault}")),
        _ => state.unfinished += 1,
    });
}

fn read_body(wire: &mut Wire, mut request: Seen, shared: &Shared) -> Result<Seen, Broken> {
    let (name, _) = order(&request);
    if request.all("expect").iter().any(|value| value.eq_ignore_ascii_case("100-continue")) {
        if name == "late-continue" {
            shared.wait(LONGEST, |state| state.gate);
        }
        if name != "no-continue" {
            let _ = wire.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
    let mut follow = Follow::new();
    let mut digest = request.body;
    let followed = request.all("x-body") == ["pattern"];
    let trailers = wire.body(request.framing, &mut |bytes| {
        shared.wait(LONGEST, |state| !state.reading_stalled);
        shared.state().read += bytes.len() as u64;
        if followed { follow.add(bytes) } else { digest.add(bytes) }
    })?;
    if followed {
        digest.length = follow.length;
        shared.change(|state| state.followed.push((follow.length, follow.right)));
    }
    request.body = digest;
    request.trailers = trailers;
    Ok(request)
}

fn play(wire: &mut Wire, steps: Vec<Step>, shared: &Shared) -> Next {
    for step in steps {
        let sent = match step {
            Step::Send(bytes) => wire.write(&bytes),
            Step::Trickle(bytes, millis) => bytes.iter().try_for_each(|byte| {
                if millis > 0 {
                    pause(millis);
                }
                wire.write(&[*byte])
            }),
            Step::Pause(millis) => {
                pause(millis);
                Ok(())
            }
            Step::Gate => {
                shared.wait(LONGEST, |state| state.gate);
                Ok(())
            }
            Step::Pushed => send_pushed(wire, shared),
            Step::Pattern(length, chunked) => send_pattern(wire, length, chunked),
            Step::Stall => {
                wire.drain();
                return Next::End;
            }
            Step::Close => {
                wire.close();
                return Next::End;
            }
            Step::Reset => {
                let _ = socket2::SockRef::from(&**wire.socket()).set_linger(Some(Duration::ZERO));
                return Next::End;
            }
            Step::DieOnNext => return Next::Die,
            Step::Talk => {
                while wire.write(&Frame::binary(b"on and on".to_vec()).bytes(None)).is_ok() {
                    pause(20);
                }
                return Next::End;
            }
            Step::Echo => {
                while let Some(frame) = Frame::read(wire) {
                    let last = frame.is_close();
                    if wire.write(&frame.bytes(None)).is_err() || last {
                        break;
                    }
                }
                wire.close();
                return Next::End;
            }
        };
        if sent.is_err() || shared.stopping.load(Ordering::Relaxed) {
            return Next::End;
        }
    }
    Next::Keep
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn send_pushed(wire: &mut Wire, shared: &Shared) -> std::io::Result<()> {
    loop {
        let mut next = None;
        shared.wait(LONGEST, |state| {
            next = state.pushed.pop_front();
            next.is_some()
        });
        match next {
            Some(Some(bytes)) => wire.write(&chunk(&bytes))?,
            Some(None) | None => return wire.write(b"0\r\n\r\n"),
        }
    }
}

fn send_pattern(wire: &mut Wire, length: u64, chunked: bool) -> std::io::Result<()> {
    // A whole number of periods, so that each part begins where the one before ended.
    let part = pattern(251 * 256);
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
        if chunked {
            wire.write(&chunk(&part[..count]))?;
        } else {
            wire.write(&part[..count])?;
        }
        left -= count as u64;
    }
    if chunked { wire.write(b"0\r\n\r\n") } else { Ok(()) }
}
