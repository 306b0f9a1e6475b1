//! Places, pauses, charges and grants.

use cloud_code_model::{Balance, Pause, PauseScope, Payer, QueuePlace, ScopeKind, Spent, TaskEvent};
use cloud_code_store::{Balances, QueueStore, Spending, Store};
use cloud_code_task_schema::Priority;

use crate::home::{Home, on_all};
use crate::{at, issue, task, with_project};

on_all!(
    a_place_changes_while_the_task_waits,
    pauses_are_kept_until_they_are_taken_back,
    the_same_figures_are_charged_once,
    a_task_pays_for_its_issue_its_project_and_its_days,
    charges_of_many_tasks_at_once_all_count,
    one_yes_counts_once,
);

fn payer(task: &str, issue: &str, day: &str) -> Payer {
    Payer {
        task: task.parse().unwrap(),
        project: "shop".parse().unwrap(),
        issue: issue.parse().unwrap(),
        day: day.to_owned(),
    }
}

fn of(balances: &Balances, scope: ScopeKind) -> Balance {
    balances.iter().find(|(found, _)| *found == scope).unwrap().1
}

fn money(micro_usd: u64) -> Spent {
    Spent { micro_usd, tokens: micro_usd / 10, attempts: 1, ..Spent::default() }
}

async fn a_place_changes_while_the_task_waits(home: impl Home) {
    let store = home.open().await;
    with_project(&store).await;
    store.open_issue(&issue("login"), &task("T1", "login"), None).await.unwrap();
    let id = "T1".parse().unwrap();
    let place = QueuePlace { priority: Priority::High, depends_on: vec!["cart".parse().unwrap()] };
    assert!(store.put_place(&id, &place).await.unwrap());
    let record = store.task(&id).await.unwrap().unwrap();
    assert_eq!(record.task.queue, place);
    // The version stands: a driver in the middle of a step is not made stale by it.
    store.transition(&record, TaskEvent::Taken, at(5)).await.unwrap();
    assert!(!store.put_place(&id, &QueuePlace::default()).await.unwrap());
    assert_eq!(store.task(&id).await.unwrap().unwrap().task.queue, place);
}

async fn pauses_are_kept_until_they_are_taken_back(home: impl Home) {
    let store = home.open().await;
    let pause = |scope, reason: &str| Pause {
        scope,
        by: Some("alice".into()),
        reason: Some(reason.into()),
        at: at(7),
    };
    let cli = PauseScope::Cli("codex".parse().unwrap());
    store.pause(&pause(cli.clone(), "bills")).await.unwrap();
    store.pause(&pause(PauseScope::All, "upgrade")).await.unwrap();
    store.pause(&pause(cli.clone(), "still bills")).await.unwrap();
    let reasons: Vec<_> =
        store.pauses().await.unwrap().into_iter().map(|pause| pause.reason.unwrap()).collect();
    assert_eq!(reasons, ["upgrade", "still bills"]);
    assert!(store.unpause(&cli).await.unwrap());
    assert!(!store.unpause(&cli).await.unwrap());
    assert_eq!(store.pauses().await.unwrap().len(), 1);
}

async fn the_same_figures_are_charged_once(home: impl Home) {
    let store = home.open().await;
    let first = payer("T1", "login", "2026-01-01");
    store.charge(&first, money(300)).await.unwrap();
    store.charge(&first, money(300)).await.unwrap();
    let balances = store.charge(&first, money(500)).await.unwrap();
    for scope in ScopeKind::ALL {
        assert_eq!(of(&balances, scope), Balance { spent: money(500), grants: 0 }, "{scope}");
    }
    // A report that lost its figures takes nothing back.
    store.charge(&first, money(100)).await.unwrap();
    assert_eq!(store.balances(&first).await.unwrap(), balances);
}

async fn a_task_pays_for_its_issue_its_project_and_its_days(home: impl Home) {
    let store = home.open().await;
    store.charge(&payer("T1", "login", "2026-01-01"), money(400)).await.unwrap();
    // Over midnight: only what is new goes to the new day.
    store.charge(&payer("T1", "login", "2026-01-02"), money(1000)).await.unwrap();
    store.charge(&payer("T2", "login", "2026-01-02"), money(50)).await.unwrap();
    let balances = store.charge(&payer("T3", "cart", "2026-01-02"), money(7)).await.unwrap();
    let micro = |scope| of(&balances, scope).spent.micro_usd;
    assert_eq!(ScopeKind::ALL.map(micro), [7, 7, 1057, 657]);
    let login = store.balances(&payer("T2", "login", "2026-01-01")).await.unwrap();
    assert_eq!(ScopeKind::ALL.map(|scope| of(&login, scope).spent.micro_usd), [50, 1050, 1057, 400]);
}

async fn charges_of_many_tasks_at_once_all_count(home: impl Home) {
    let store = home.open().await;
    let charges = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let payer = payer(&format!("T{n}"), "login", "2026-01-01");
            for so_far in [1, 5, 10] {
                store.charge(&payer, money(so_far)).await.unwrap();
            }
        })
    });
    for charge in charges.collect::<Vec<_>>() {
        charge.await.unwrap();
    }
    let balances = store.balances(&payer("T0", "login", "2026-01-01")).await.unwrap();
    assert_eq!(
        of(&balances, ScopeKind::Project).spent,
        Spent { micro_usd: 200, tokens: 20, attempts: 20, ..Spent::default() }
    );
}

async fn one_yes_counts_once(home: impl Home) {
    let store = home.open().await;
    let payer = payer("T1", "login", "2026-01-01");
    let first = [ScopeKind::Issue, ScopeKind::Day];
    assert_eq!(store.grant(&payer, &first, "comment-1", Some("alice"), at(9)).await.unwrap(), first);
    // The same yes again, after a kill: what is used up by then may be something else, and it may be the next day.
    let later = Payer { day: "2026-01-02".to_owned(), ..payer.clone() };
    let mut again =
        store.grant(&later, &[ScopeKind::Task], "comment-1", Some("alice"), at(10)).await.unwrap();
    again.sort();
    assert_eq!(again, first);
    assert_eq!(
        store.grant(&payer, &[ScopeKind::Issue], "comment-2", None, at(11)).await.unwrap(),
        [ScopeKind::Issue]
    );
    let balances = store.balances(&payer).await.unwrap();
    assert_eq!(ScopeKind::ALL.map(|scope| of(&balances, scope).grants), [0, 2, 0, 1]);
}
