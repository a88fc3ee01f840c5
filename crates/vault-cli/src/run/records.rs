//! The commands on one record: `create`, `update`, `delete`, `restore`, `renew`, `exists`.

use serde::Serialize;
use vaultstore::{Password, Plaintext, Token};

use super::confirm::confirm;
use super::v2_cost::V2Costs;
use super::{Context, blocking, settings};
use crate::args::{
    CreateArgs, DeleteArgs, ExistsArgs, PasswordArgs, RenewArgs, TokenArgs, UpdateArgs, ValueArgs,
};
use crate::exit::{Exit, Failure};
use crate::secrets::{self, Passwords, Prompt, Role};
use crate::{plan, render};

#[derive(Serialize)]
struct Created<'a> {
    token: &'a str,
}

pub(super) async fn create(context: &Context, args: CreateArgs) -> Result<Exit, Failure> {
    if args.token.is_none() && render::stdout_was_closed() {
        return Err(Failure::failed(
            "standard output is closed, so the new record's token would be lost; nothing was created",
        )
        .hint("open standard output, or choose the token with --token"));
    }
    let vault = context.open().await?;
    settings::settle_format(&vault, args.format.format).await?;
    let options = plan::create_options(&args);
    let CreateArgs { token, value, password, json, .. } = args;
    let (value, password) = value_and_password(value, password, Prompt::New(Role::Records)).await?;
    let key = vault.derive_key(password).await?;
    let token = match token {
        Some(token) => {
            vault
                .create_with_token(value.as_bytes(), &key, token.clone(), options.expires_at)
                .await?;
            token
        }
        None => vault.create(value.as_bytes(), &key, options).await?,
    };
    let mut text = if json {
        render::json_text(&Created { token: token.as_str() })?
    } else {
        token.as_str().to_owned()
    };
    text.push('\n');
    render::write(text.as_bytes()).map_err(|error| {
        Failure::failed(
            "the record was created, but its token could not be written to standard output",
        )
        .for_people(format!("the token is {}", token.as_str()))
        .after_a_change()
        .because(error)
    })?;
    Ok(Exit::Done)
}

pub(super) async fn update(context: &Context, args: UpdateArgs) -> Result<Exit, Failure> {
    let vault = context.open_for(&args.open).await?;
    settings::settle_format(&vault, args.format.format).await?;
    let UpdateArgs { token, value, password, open, .. } = args;
    let (value, password) =
        value_and_password(value, password, Prompt::Known(Role::Records)).await?;
    let key = vault.derive_key(password).await?;
    if let Err(error) = vault.update(&token.token, value.as_bytes(), &key).await {
        let costs = V2Costs::of(&**vault.store(), &open, context).await?;
        return Err(costs.explain(&vault, &[token.token], &key, error).await);
    }
    Ok(Exit::Done)
}

pub(super) async fn delete(context: &Context, args: &DeleteArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let token: &Token = &args.token.token;
    if args.hard {
        let what = format!("The record {} is deleted permanently", token.as_str());
        confirm(args.yes, &what).await?;
        vault.delete(token).await?;
    } else {
        vault.soft_delete(token).await?;
    }
    Ok(Exit::Done)
}

pub(super) async fn restore(context: &Context, args: &TokenArgs) -> Result<Exit, Failure> {
    context.open().await?.restore(&args.token).await?;
    Ok(Exit::Done)
}

pub(super) async fn renew(context: &Context, args: &RenewArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    vault.renew(&args.token.token, plan::end(args.end.expires_in)).await?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Exists<'a> {
    token: &'a str,
    exists: bool,
}

pub(super) async fn exists(context: &Context, args: &ExistsArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let token = &args.token.token;
    let exists = vault.exists(token).await?;
    if args.json {
        render::print_json(&Exists { token: token.as_str(), exists })?;
    } else {
        render::print_line(if exists { "yes" } else { "no" })?;
    }
    Ok(if exists { Exit::Done } else { Exit::No })
}

async fn value_and_password(
    value: ValueArgs,
    password: PasswordArgs,
    prompt: Prompt,
) -> Result<(Plaintext, Password), Failure> {
    blocking(move || {
        let mut passwords = if value.value_file.is_some() {
            Passwords::default()
        } else {
            Passwords::with_value_on_stdin()
        };
        // The password first: prompt before a long pipe has been read.
        let password = passwords.read(password.source(), prompt)?;
        Ok((secrets::read_value(&value)?, password))
    })
    .await
}
