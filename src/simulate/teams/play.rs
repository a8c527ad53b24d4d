//! Plays the steps of a scenario, one after the other, against the tenant.

use std::sync::Arc;

use super::shell::Shared;
use super::steps::{Deed, Step};

/// Plays all steps.
///
/// # Errors
/// A step cannot be played, or what it waits for does not come; the text names the scenario's line.
pub(super) async fn play(shared: Arc<Shared>, steps: Vec<Step>) -> Result<(), String> {
    for step in steps {
        if !step.after.is_zero() {
            tokio::time::sleep(step.after).await;
        }
        play_step(&shared, &step.deed).await.map_err(|e| format!("scenario line {}: {e}", step.line))?;
    }
    Ok(())
}

async fn play_step(shared: &Arc<Shared>, deed: &Deed) -> Result<(), String> {
    match deed {
        Deed::Pause => Ok(()),
        Deed::Act(act) => shared.with(|tenant| tenant.act(act)).map(|_| ()),
        Deed::WaitFor { condition, within } => {
            if shared.until(*within, |tenant| tenant.holds(condition)).await {
                Ok(())
            } else {
                Err(format!("waited {} ms in vain for {:?} {}", within.as_millis(), condition.kind, condition.name))
            }
        }
        Deed::Repeat { chat, by, words, times, every } => {
            // A burst is said in handfuls, so that requests are answered in between.
            let handful = if every.is_zero() { 20 } else { 1 };
            let mut said = 0;
            while said < *times {
                if said > 0 && !every.is_zero() {
                    tokio::time::sleep(*every).await;
                }
                let until = (*times).min(said + handful);
                shared.with(|tenant| {
                    for n in said + 1..=until {
                        let mut words = (**words).clone();
                        for form in [&mut words.text, &mut words.html].into_iter().flatten() {
                            *form = form.replace("{n}", &n.to_string());
                        }
                        tenant.say(chat, by, &words, None)?;
                    }
                    Ok::<_, String>(())
                })?;
                said = until;
                tokio::task::yield_now().await;
            }
            shared.with(|tenant| tenant.tell(format!("{} says {times} things in \"{chat}\"", tenant.display(by))));
            Ok(())
        }
    }
}
