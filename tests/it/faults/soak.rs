//! Many faults of every kind in any order, and what the bridge keeps of them: nothing.

use super::host::Host;
use crate::harness::{
    program,
    relay::Relay,
    until,
    upstream::{Fault, Form, Question},
};

/// Another seed is another order; the same seed is the same one. `POSTERN_TESTS_SEED` takes its
/// place.
const SEED: u64 = 2_026_112_100;

/// Hosts at any time.
const HOSTS: usize = 6;

/// What the bridge's memory may have grown by in the end, in KiB: buffers and the allocator's
/// own leftovers, and nothing that grows with the number of faults.
const GROWTH: u64 = 6 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_keeps_nothing_of_any_number_of_faults() {
    let (warm_up, faults) = if program::is_full() {
        (250, 1000)
    } else {
        (60, 250)
    };
    let seed = program::seed().unwrap_or(SEED);
    println!("seed {seed}, {faults} faults");
    let mut soak = Soak::start(seed).await;
    soak.run(warm_up).await;
    let before = soak.rest().await;
    soak.run(faults).await;
    let after = soak.rest().await;
    println!("before {before:?}, after {after:?}");
    // What was open for the ends of the hosts themselves may close a moment later.
    until("no more open than before", async || {
        let now = Holding::of(after.process);
        (now.descriptors <= before.descriptors).then_some(())
    })
    .await;
    assert!(
        after.memory <= before.memory + GROWTH,
        "{before:?}, then {after:?}"
    );
    assert_eq!(after.process, before.process, "one bridge through it all");
}

struct Soak {
    relay: Relay,
    dice: Dice,
    hosts: Vec<Calling>,
    /// How many hosts there were: each has a name of its own.
    named: u32,
}

/// A host, and its calls that nobody will answer.
struct Calling {
    host: Host,
    silent: Vec<u64>,
}

/// What a process holds.
#[derive(Debug)]
struct Holding {
    process: u32,
    descriptors: usize,
    /// In KiB.
    memory: u64,
}

impl Soak {
    async fn start(seed: u64) -> Self {
        Self {
            relay: Relay::start().await,
            dice: Dice(seed),
            hosts: Vec::new(),
            named: 0,
        }
    }

    /// Lets so many faults happen; every call has its answer in the end.
    async fn run(&mut self, faults: usize) {
        let mut left = faults;
        while left > 0 {
            while self.hosts.len() < HOSTS {
                self.come().await;
            }
            let burst = (1 + self.dice.roll(12)).min(left);
            for _ in 0..burst {
                self.call().await;
            }
            self.disturb().await;
            left -= burst;
            if self.dice.roll(3) == 0 {
                self.settle().await;
            }
        }
        self.settle().await;
    }

    async fn come(&mut self) {
        self.named += 1;
        let host = Host::connect(&self.relay.bridge, &format!("host{}", self.named)).await;
        self.hosts.push(Calling {
            host,
            silent: Vec::new(),
        });
    }

    /// A call of some host that meets some fault.
    async fn call(&mut self) {
        let fault = self.dice.fault();
        let at = self.dice.roll(self.hosts.len());
        let calling = &mut self.hosts[at];
        let id = calling.host.ask(fault).await;
        if fault == Fault::Silence {
            calling.silent.push(id);
        }
    }

    /// What befalls all calls that are under way, or some of the hosts.
    async fn disturb(&mut self) {
        let upstream = &self.relay.upstream;
        match self.dice.roll(16) {
            0 => upstream.forget(),
            1 => upstream.cut_streams(),
            2 => upstream.tell(|seen| seen.greetings_to_lose += 1),
            3 => {
                upstream.go().await;
                upstream.come_back().await;
            }
            4 => {
                upstream.go().await;
                upstream.forget();
                upstream.come_back().await;
            }
            5 => {
                upstream.go().await;
                for _ in 0..3 {
                    self.call().await;
                }
                self.relay.upstream.come_back().await;
            }
            6 => {
                let at = self.dice.roll(self.hosts.len());
                let gone = self.hosts.swap_remove(at);
                program::kill(gone.host.process());
            }
            7 => {
                let at = self.dice.roll(self.hosts.len());
                let mut leaving = self.hosts.swap_remove(at);
                leaving.settle().await;
                leaving.host.end().await;
            }
            _ => {}
        }
    }

    async fn settle(&mut self) {
        for calling in &mut self.hosts {
            calling.settle().await;
        }
    }

    /// Ends all hosts and connections; what the bridge then holds.
    async fn rest(&mut self) -> Holding {
        for calling in self.hosts.drain(..) {
            calling.host.end().await;
        }
        let upstream = &self.relay.upstream;
        upstream.until("no request", |seen| seen.held == 0).await;
        upstream.took_each_call_once();
        let process = self.relay.bridge.process().await;
        let address = upstream.address();
        // Those that are kept for the next request end too, and so do those of a late farewell.
        until("the end of all sessions and connections", async || {
            upstream.go().await;
            upstream.come_back().await;
            let sessions = self.relay.bridge.state().await.sessions.len();
            (sessions + program::connections_to(process, address) == 0).then_some(())
        })
        .await;
        Holding::of(process)
    }
}

impl Calling {
    /// Cancels what is never answered, and waits for everything else.
    async fn settle(&mut self) {
        for id in std::mem::take(&mut self.silent) {
            self.host.cancel(id).await;
        }
        self.host.answers().await;
    }
}

impl Holding {
    fn of(process: u32) -> Self {
        Self {
            process,
            descriptors: program::descriptors(process).len(),
            memory: program::memory(process),
        }
    }
}

/// Xorshift: the same faults in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let sides = u64::try_from(sides).expect("few sides");
        usize::try_from(self.0 % sides).expect("one of them")
    }

    fn form(&mut self) -> Form {
        const FORMS: [Form; 5] = [
            Form::Json,
            Form::Chunk,
            Form::Bare,
            Form::Events,
            Form::NamedEvents,
        ];
        FORMS[self.roll(FORMS.len())]
    }

    fn fault(&mut self) -> Fault {
        let (form, at) = (self.form(), self.roll(400));
        match self.roll(15) {
            0 => Fault::Silence,
            14 => Fault::Asks(Question::Elicitation),
            1 => Fault::Forgotten,
            2 => Fault::Twice,
            3 => Fault::Noise,
            4 => Fault::Page,
            5 => Fault::Status(503),
            6 => Fault::Drip(form),
            7 | 8 => Fault::Reset { form, at },
            _ => Fault::Cut { form, at },
        }
    }
}
