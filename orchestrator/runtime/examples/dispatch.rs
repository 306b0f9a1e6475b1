//! What a container costs through this crate, beside `docker run --rm` of the same image: the median of runs taken in
//! turn, so that the machine's mood is the same for both.
//!
//! `cargo run --release -p cloud-code-runtime --example dispatch -- [IMAGE] [ROUNDS]`
#![expect(clippy::print_stdout, reason = "a program for a person at a terminal")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cloud_code_runtime::{
    ContainerSpec, DockerRuntime, DockerSettings, Labels, NetworkMode, Runtime, Secrets,
};

const IMAGE: &str = "debian:bookworm-slim";

/// Odd, so that the median is a run; enough that one slow disk flush does not decide.
const ROUNDS: usize = 15;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let image = arguments.next().unwrap_or_else(|| IMAGE.to_owned());
    let rounds = arguments.next().map(|text| text.parse()).transpose()?.unwrap_or(ROUNDS);
    let instance: cloud_code_model::InstanceId = format!("dispatch-{}", std::process::id()).parse()?;
    let runtime = DockerRuntime::new(DockerSettings::from_environment(instance.clone()));
    let labels = Labels::of_instance(instance);
    for (network, name) in [(NetworkMode::None, "none"), (NetworkMode::Bridge, "bridge")] {
        let mut spec =
            ContainerSpec::new("cloud-code-dispatch", &image, labels.clone(), vec!["/bin/true".to_owned()]);
        spec.network = network;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut parts = [const { Vec::new() }; 4];
        for _ in 0..rounds {
            theirs.push(docker_run(&image, name)?);
            let steps = through_the_port(&runtime, &spec).await?;
            for (part, step) in parts.iter_mut().zip(steps) {
                part.push(step);
            }
            ours.push(steps.iter().sum());
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let parts = parts.map(|mut part| milliseconds(median(&mut part)));
        println!(
            "network {name:<7} ours {:6.1} ms (create {:.1}, start {:.1}, wait {:.1}, remove {:.1})   docker run --rm {:6.1} ms   ratio {:.2}",
            milliseconds(ours),
            parts[0],
            parts[1],
            parts[2],
            parts[3],
            milliseconds(theirs),
            ours.as_secs_f64() / theirs.as_secs_f64()
        );
    }
    Ok(())
}

async fn through_the_port(runtime: &dyn Runtime, spec: &ContainerSpec) -> Result<[Duration; 4], Failure> {
    let mut clock = Instant::now();
    let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed();
    let id = runtime.create(spec).await?;
    let created = lap();
    runtime.start(&id, &Secrets::none()).await?;
    let started = lap();
    runtime.wait(&id).await?;
    let waited = lap();
    runtime.remove(&id).await?;
    Ok([created, started, waited, lap()])
}

fn docker_run(image: &str, network: &str) -> Result<Duration, Failure> {
    let clock = Instant::now();
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--network", network, "--entrypoint", "/bin/true", image]);
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("docker run ended with {status}").into());
    }
    Ok(clock.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
