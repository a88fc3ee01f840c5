//! `read`.

use std::io::{self, IsTerminal as _};

use serde::Serialize;
use vaultstore::{Plaintext, Token, VaultError};

use super::v2_cost::V2Costs;
use super::{Context, blocking};
use crate::args::ReadArgs;
use crate::exit::{Exit, Failure};
use crate::render;
use crate::secrets::{Passwords, Prompt, Role};

pub(super) async fn run(context: &Context, args: ReadArgs) -> Result<Exit, Failure> {
    let vault = context.open_for(&args.open).await?;
    let password = blocking(|| {
        Passwords::default().read(args.password.source(), Prompt::Known(Role::Records))
    })
    .await?;
    let key = vault.derive_key(password).await?;
    let answers = vault.read_many(&args.tokens, &key).await?;
    if args.json {
        return print_json(&args.tokens, answers);
    }
    let unopened: Vec<Token> = args
        .tokens
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| matches!(answer, Err(VaultError::WrongPassword)))
        .map(|(token, _)| token.clone())
        .collect();
    // All or nothing: a consumer of a pipe must not take some for all.
    let values = match answers.into_iter().collect::<Result<Vec<Plaintext>, VaultError>>() {
        Ok(values) => values,
        Err(error) => {
            let costs = V2Costs::of(&**vault.store(), &args.open, context).await?;
            return Err(costs.explain(&vault, &unopened, &key, error).await);
        }
    };
    // For a program every byte counts; a person's terminal would act on some of them.
    let as_it_is = args.raw || !io::stdout().is_terminal();
    for value in values {
        if as_it_is {
            render::print(value.as_bytes())?;
        } else {
            render::print_value(value.as_bytes())?;
        }
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Read<'a> {
    records: Vec<Answer<'a>>,
}

/// Exactly one of the two is set.
#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    value: Option<render::Base64<'a>>,
    error: Option<&'static str>,
}

fn print_json(
    tokens: &[Token],
    answers: Vec<Result<Plaintext, VaultError>>,
) -> Result<Exit, Failure> {
    let mut records = Vec::with_capacity(tokens.len());
    for (token, answer) in tokens.iter().zip(&answers) {
        let (value, error) = match answer {
            Ok(value) => (Some(render::Base64(value.as_bytes())), None),
            Err(error) => (None, Some(reason(error))),
        };
        records.push(Answer { token: token.as_str(), value, error });
    }
    render::print_secret_json(&Read { records })?;
    let refused = answers.iter().any(Result::is_err);
    // That a record has no value is a result; that one could not be read is a failure.
    let failed =
        answers.into_iter().find_map(|answer| answer.err().filter(|e| reason(e) == FAILED));
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(if refused { Exit::No } else { Exit::Done }),
    }
}

/// The `error` of a record that was not read.
const FAILED: &str = "failed";

fn reason(error: &VaultError) -> &'static str {
    match error {
        VaultError::UnknownToken => "unknown",
        VaultError::SoftDeleted => "deleted",
        VaultError::Expired => "expired",
        VaultError::WrongPassword => "wrong_password",
        VaultError::Damaged => "damaged",
        VaultError::Malformed(_) => "malformed",
        VaultError::NotTried(_) => "not_tried",
        _ => FAILED,
    }
}
