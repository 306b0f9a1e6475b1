use super::*;

/// The model's clock, running with tokio's paused one.
struct Paused {
    start: Instant,
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap();
        Timestamp::from_second(1_700_000_000).unwrap() + passed
    }
}

fn limits(pace: Pace) -> Limits {
    Limits::new(pace, Arc::new(Paused { start: Instant::now() }))
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn writes_keep_their_distance() {
    let limits = limits(Pace::default());
    let start = Instant::now();
    drop(limits.write(Priority::Reply).await.unwrap());
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(limits.write(Priority::Reply).await.unwrap());
    drop(limits.write(Priority::Reply).await.unwrap());
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_more_important_overtakes_those_who_wait() {
    let limits = limits(Pace::default());
    let first = limits.write(Priority::Progress).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for priority in [Priority::Progress, Priority::Reply, Priority::Terminal, Priority::Reaction] {
        let (limits, order) = (limits.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let _turn = limits.write(priority).await.unwrap();
            order.lock().unwrap().push(priority);
        }));
    }
    tokio::time::sleep(SECOND).await;
    assert!(order.lock().unwrap().is_empty(), "somebody wrote during another's turn");
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    let wanted = [Priority::Reaction, Priority::Terminal, Priority::Reply, Priority::Progress];
    assert_eq!(*order.lock().unwrap(), wanted);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_told_until_when() {
    let limits = limits(Pace::default());
    let until = limits.stop_for(Duration::from_secs(300));
    assert_eq!(until.as_second(), 1_700_000_300);
    assert_eq!(limits.read().await, Err(ForgeError::Limited { until }));
    assert_eq!(limits.write(Priority::Terminal).await.err(), Some(ForgeError::Limited { until }));
    tokio::time::sleep(Duration::from_secs(290)).await;
    let start = Instant::now();
    limits.read().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_in_time_is_given_up() {
    let limits = limits(Pace::default());
    let _hung = limits.write(Priority::Reply).await.unwrap();
    let start = Instant::now();
    assert!(matches!(limits.write(Priority::Reply).await, Err(ForgeError::Limited { .. })));
    assert_eq!(start.elapsed(), Pace::default().patience);
    assert!(limits.state().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn progress_leaves_room_for_endings() {
    let pace = Pace { write_gap: Duration::ZERO, writes_per_minute: 8, ..Pace::default() };
    let limits = limits(pace);
    for _ in 0..6 {
        drop(limits.write(Priority::Progress).await.unwrap());
    }
    assert!(matches!(limits.write(Priority::Progress).await, Err(ForgeError::Limited { .. })));
    drop(limits.write(Priority::Terminal).await.unwrap());
    drop(limits.write(Priority::Reply).await.unwrap());
    let refused = limits.write(Priority::Terminal).await.err();
    assert_eq!(refused, Some(ForgeError::Limited { until: Timestamp::from_second(1_700_000_060).unwrap() }));
    tokio::time::sleep(MINUTE).await;
    drop(limits.write(Priority::Progress).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_hour_has_its_own_limit() {
    let pace = Pace { write_gap: Duration::ZERO, writes_per_hour: 3, ..Pace::default() };
    let limits = limits(pace);
    for _ in 0..3 {
        drop(limits.write(Priority::Reply).await.unwrap());
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    assert!(matches!(limits.write(Priority::Reply).await, Err(ForgeError::Limited { .. })));
    tokio::time::sleep(HOUR - Duration::from_secs(360)).await;
    drop(limits.write(Priority::Reply).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn points_are_counted_by_the_minute() {
    let pace = Pace { write_gap: Duration::ZERO, points_per_minute: 12, ..Pace::default() };
    let limits = limits(pace);
    drop(limits.write(Priority::Reply).await.unwrap());
    drop(limits.write(Priority::Reply).await.unwrap());
    limits.read().await.unwrap();
    limits.read().await.unwrap();
    assert!(matches!(limits.read().await, Err(ForgeError::Limited { .. })));
    tokio::time::sleep(MINUTE).await;
    limits.read().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn limits_without_a_time_double() {
    let limits = limits(Pace::default());
    assert_eq!(limits.stop_by_rule().as_second(), 1_700_000_060);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(limits.stop_by_rule().as_second(), 1_700_000_060 + 120);
    tokio::time::sleep(2 * MINUTE).await;
    limits.served();
    assert_eq!(limits.stop_by_rule().as_second(), 1_700_000_180 + 60);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_a_time_of_day() {
    let limits = limits(Pace::default());
    let reset = Timestamp::from_second(1_700_000_030).unwrap();
    assert_eq!(limits.stop_until(reset).as_second(), 1_700_000_031);
    assert!(!limits.is_patient(reset));
    let past = Timestamp::from_second(1_600_000_000).unwrap();
    assert!(limits.stop_until(past).as_second() <= 1_700_000_031);
}
