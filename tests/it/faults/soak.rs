//! Many random faults of every kind. The bridge must keep no resources afterwards.

use super::host::Host;
use crate::harness::{
    program,
    relay::Relay,
    until,
    upstream::{Fault, Form, ServerRequest},
};

/// The seed of the order of faults. `POSTERN_TESTS_SEED` replaces it.
const SEED: u64 = 2_026_112_100;

/// The number of concurrent hosts.
const HOSTS: usize = 6;

/// The maximum growth of the bridge's memory, in KiB: buffers and the allocator's overhead,
/// independent of the number of faults.
const MAX_GROWTH: u64 = 6 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn bridge_keeps_no_resources_after_random_faults() {
    let (warm_up, faults) = if program::is_full() {
        (250, 1000)
    } else {
        (60, 250)
    };
    let seed = program::seed().unwrap_or(SEED);
    println!("seed {seed}, {faults} faults");
    let mut soak = Soak::start(seed).await;
    soak.run(warm_up).await;
    let before = soak.idle_usage().await;
    soak.run(faults).await;
    let after = soak.idle_usage().await;
    println!("before {before:?}, after {after:?}");
    // Connections that end the hosts' sessions may close a moment later.
    until("no more open than before", async || {
        let now = ResourceUsage::of(after.process);
        (now.descriptors <= before.descriptors).then_some(())
    })
    .await;
    assert!(
        after.memory <= before.memory + MAX_GROWTH,
        "{before:?}, then {after:?}"
    );
    assert_eq!(after.process, before.process, "one bridge through it all");
}

struct Soak {
    relay: Relay,
    random: Random,
    hosts: Vec<SoakHost>,
    /// How many hosts were started. Each has its own name.
    named: u32,
}

/// A host and its calls that get no response.
struct SoakHost {
    host: Host,
    silent: Vec<u64>,
}

/// The resources of a process.
#[derive(Debug)]
struct ResourceUsage {
    process: u32,
    descriptors: usize,
    /// In KiB.
    memory: u64,
}

impl Soak {
    async fn start(seed: u64) -> Self {
        Self {
            relay: Relay::start().await,
            random: Random(seed),
            hosts: Vec::new(),
            named: 0,
        }
    }

    /// Causes that many faults and waits for all responses.
    async fn run(&mut self, faults: usize) {
        let mut left = faults;
        while left > 0 {
            while self.hosts.len() < HOSTS {
                self.connect_host().await;
            }
            let burst = (1 + self.random.below(12)).min(left);
            for _ in 0..burst {
                self.call().await;
            }
            self.disrupt().await;
            left -= burst;
            if self.random.below(3) == 0 {
                self.drain().await;
            }
        }
        self.drain().await;
    }

    async fn connect_host(&mut self) {
        self.named += 1;
        let host = Host::connect(&self.relay.bridge, &format!("host{}", self.named)).await;
        self.hosts.push(SoakHost {
            host,
            silent: Vec::new(),
        });
    }

    /// Calls from a random host with a random fault.
    async fn call(&mut self) {
        let fault = self.random.fault();
        let at = self.random.below(self.hosts.len());
        let soak_host = &mut self.hosts[at];
        let id = soak_host.host.send_call(fault).await;
        if fault == Fault::Silence {
            soak_host.silent.push(id);
        }
    }

    /// Disrupts all pending calls or some of the hosts.
    async fn disrupt(&mut self) {
        let upstream = &self.relay.upstream;
        match self.random.below(16) {
            0 => upstream.forget_sessions(),
            1 => upstream.cut_streams(),
            2 => upstream.configure(|seen| seen.initialized_to_lose += 1),
            3 => {
                upstream.stop().await;
                upstream.restart().await;
            }
            4 => {
                upstream.stop().await;
                upstream.forget_sessions();
                upstream.restart().await;
            }
            5 => {
                upstream.stop().await;
                for _ in 0..3 {
                    self.call().await;
                }
                self.relay.upstream.restart().await;
            }
            6 => {
                let at = self.random.below(self.hosts.len());
                let gone = self.hosts.swap_remove(at);
                program::kill(gone.host.process());
            }
            7 => {
                let at = self.random.below(self.hosts.len());
                let mut leaving = self.hosts.swap_remove(at);
                leaving.drain().await;
                leaving.host.end().await;
            }
            _ => {}
        }
    }

    async fn drain(&mut self) {
        for soak_host in &mut self.hosts {
            soak_host.drain().await;
        }
    }

    /// Ends all hosts and connections and returns the bridge's resources.
    async fn idle_usage(&mut self) -> ResourceUsage {
        for soak_host in self.hosts.drain(..) {
            soak_host.host.end().await;
        }
        let upstream = &self.relay.upstream;
        upstream.until("no request", |seen| seen.held == 0).await;
        upstream.assert_no_duplicate_calls();
        let process = self.relay.bridge.process().await;
        let address = upstream.address();
        // Idle connections must end too, and those that end a session late.
        until("the end of all sessions and connections", async || {
            upstream.stop().await;
            upstream.restart().await;
            let sessions = self.relay.bridge.state().await.sessions.len();
            (sessions + program::connections_to(process, address) == 0).then_some(())
        })
        .await;
        ResourceUsage::of(process)
    }
}

impl SoakHost {
    /// Cancels calls without a response and waits for all others.
    async fn drain(&mut self) {
        for id in std::mem::take(&mut self.silent) {
            self.host.cancel(id).await;
        }
        self.host.responses().await;
    }
}

impl ResourceUsage {
    fn of(process: u32) -> Self {
        Self {
            process,
            descriptors: program::descriptors(process).len(),
            memory: program::memory(process),
        }
    }
}

/// Xorshift: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, sides: usize) -> usize {
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
        FORMS[self.below(FORMS.len())]
    }

    fn fault(&mut self) -> Fault {
        let (form, at) = (self.form(), self.below(400));
        match self.below(15) {
            0 => Fault::Silence,
            14 => Fault::RequestFirst(ServerRequest::Elicitation),
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
