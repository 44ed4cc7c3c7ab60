use std::sync::mpsc;

use super::*;

/// Collects what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that takes nothing until the gate's other end is dropped.
struct Stalled(Sink, mpsc::Receiver<()>);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.1.recv();
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stalled_reader_stalls_no_producer_and_tears_no_line() {
    let sink = Sink::default();
    let (gate, stalled) = mpsc::sync_channel(1);
    let pipe = LogPipe::new(Box::new(Stalled(sink.clone(), stalled)), 10_000).unwrap();
    let begun = Instant::now();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let pipe = pipe.clone();
            std::thread::spawn(move || {
                for number in 0..5_000 {
                    pipe.write(format!("line {thread} {number} end\n").as_bytes());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(pipe.pending() <= 10_000, "{} bytes are held", pipe.pending());
    assert!(!pipe.flush(Duration::from_millis(20)), "the reader is stalled");

    let dropped = pipe.dropped();
    assert!(dropped > 0);
    pipe.tell_losses(|lost| format!("lost {lost}\n").into_bytes());
    drop(gate);
    assert!(pipe.flush(Duration::from_secs(10)));
    wait(|| sink.text().contains("lost"));
    let text = sink.text();
    let (notices, others): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("lost"));
    assert_eq!(notices, [format!("lost {dropped}")]);
    assert_eq!(others.len() as u64 + dropped, 20_000);
    assert!(others.iter().all(|line| line.starts_with("line ") && line.ends_with(" end")));
    assert_eq!(pipe.pending(), 0);

    pipe.write(b"after\n");
    assert!(pipe.flush(Duration::from_secs(10)));
    assert!(sink.text().ends_with("after\n"));
    assert_eq!(pipe.dropped(), dropped);
}

/// Waits until `condition` holds.
fn wait(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[test]
fn a_loss_is_told_though_nobody_logs_and_again_only_for_further_ones() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(sink.clone()), 10).unwrap();
    pipe.tell_losses(|lost| format!("lost {lost}\n").into_bytes());
    pipe.write(b"this is too much\n");
    pipe.write(b"fits\n");
    wait(|| sink.text() == "fits\nlost 1\n");
    pipe.write(b"this is too much\n");
    pipe.write(b"and this too\n");
    pipe.write(b"fits\n");
    // Not at once, though that is what the reader takes: it was told just now.
    wait(|| sink.text() == "fits\nlost 1\nfits\nlost 2\n");
}

#[test]
fn a_loss_is_told_once_writing_works_again() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(FailsOnce(sink.clone(), 0)), 1000).unwrap();
    pipe.tell_losses(|lost| format!("lost {lost}\n").into_bytes());
    pipe.write(b"first line\n");
    wait(|| sink.text() == "first\nlost 1\n");
    assert_eq!(pipe.dropped(), 1);
}

/// Counts the writes.
struct Counting(Sink, Arc<AtomicU64>);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn many_lines_go_out_in_few_writes_and_in_their_order() {
    let (sink, writes) = (Sink::default(), Arc::new(AtomicU64::new(0)));
    let pipe = LogPipe::new(Box::new(Counting(sink.clone(), writes.clone())), 1 << 20).unwrap();
    let begun = Instant::now();
    let mut lines = 0;
    while begun.elapsed() < 10 * REST {
        for _ in 0..20 {
            pipe.write(format!("{lines}\n").as_bytes());
            lines += 1;
        }
        let written = Instant::now();
        while written.elapsed() < Duration::from_micros(100) {
            std::thread::yield_now();
        }
    }
    // None of them needs a further one, nor a flush, to be written.
    wait(|| pipe.pending() == 0);
    let most = u64::try_from(begun.elapsed().as_millis() / REST.as_millis()).unwrap() + 2;
    let count = writes.load(Ordering::Relaxed);
    assert!(count <= most && count < lines / 4, "{count} writes of {lines} lines, at most {most}");
    let text = sink.text();
    assert!(text.lines().map(|line| line.parse::<u64>().unwrap()).eq(0..lines), "{text}");
    assert_eq!(pipe.dropped(), 0);
}

#[test]
fn what_a_burst_took_is_given_back_when_nothing_is_logged() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(sink.clone()), DEFAULT_CAPACITY).unwrap();
    let line = [vec![b'a'; 4 * IDLE_ROOM], vec![b'\n']].concat();
    // One after the other, so that both buffers have held one.
    for lines in 1..=4 {
        pipe.write(&line);
        wait(|| sink.text().len() == lines * line.len());
    }
    wait(|| pipe.shared.lock().writer == Activity::Idle);
    let room = pipe.shared.lock().waiting.capacity();
    assert!(room <= IDLE_ROOM, "{room}");
}

#[test]
fn lines_are_written_without_a_flush() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(sink.clone()), 1000).unwrap();
    for number in 0..100 {
        pipe.write(format!("{number}\n").as_bytes());
        let begun = Instant::now();
        while pipe.pending() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }
    assert_eq!(sink.text().lines().count(), 100);
}

/// Writes five bytes, fails once, then works.
struct FailsOnce(Sink, u32);

impl Write for FailsOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        match self.1 {
            1 => self.0.write(&bytes[..5]),
            2 => Err(ErrorKind::StorageFull.into()),
            _ => self.0.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failed_write_counts_its_lines_and_the_next_line_is_whole() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(FailsOnce(sink.clone(), 0)), 1000).unwrap();
    pipe.write(b"first line\n");
    assert!(pipe.flush(Duration::from_secs(10)));
    assert_eq!(pipe.dropped(), 1);
    pipe.write(b"second line\n");
    assert!(pipe.flush(Duration::from_secs(10)));
    assert_eq!(sink.text(), "first\nsecond line\n");
    assert_eq!(pipe.dropped(), 1);
}

#[test]
fn a_line_larger_than_the_pipe_is_dropped() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(sink.clone()), 10).unwrap();
    pipe.write(b"this is too much\n");
    pipe.write(b"fits\n");
    assert!(pipe.flush(Duration::from_secs(10)));
    assert_eq!((sink.text().as_str(), pipe.dropped()), ("fits\n", 1));
}

#[test]
fn the_last_lines_are_written_after_the_last_handle_is_gone() {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(sink.clone()), 1000).unwrap();
    pipe.write(b"last\n");
    drop(pipe);
    let begun = Instant::now();
    while sink.text() != "last\n" {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}
