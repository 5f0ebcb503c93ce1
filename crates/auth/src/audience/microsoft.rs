//! Microsoft's own resources, which no server of an organisation is.
//!
//! The list has the APIs that hold an organisation's data or its cloud. It cannot be complete, so
//! it is one defence among several: the user is asked about any other resource.

use crate::entra::is_guid;

/// The name of a resource whose name is unknown.
pub(crate) const UNNAMED: &str = "a resource of Microsoft's own";

/// Applications, by their id.
const APPLICATIONS: [(&str, &str); 31] = [
    ("00000002-0000-0000-c000-000000000000", "Azure AD Graph"),
    ("00000003-0000-0000-c000-000000000000", "Microsoft Graph"),
    (
        "00000007-0000-0000-c000-000000000000",
        "Microsoft Dataverse",
    ),
    ("00000009-0000-0000-c000-000000000000", "Power BI"),
    ("0000000a-0000-0000-c000-000000000000", "Microsoft Intune"),
    ("00000002-0000-0ff1-ce00-000000000000", "Exchange Online"),
    ("00000003-0000-0ff1-ce00-000000000000", "SharePoint Online"),
    (
        "00000004-0000-0ff1-ce00-000000000000",
        "Skype for Business Online",
    ),
    ("00000005-0000-0ff1-ce00-000000000000", "Viva Engage"),
    (
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",
        "Azure Resource Manager",
    ),
    ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "Azure Key Vault"),
    ("e406a681-f3d4-42a8-90b6-c2b029497af1", "Azure Storage"),
    ("022907d3-0f1b-48f7-badc-1ba6abab6d66", "Azure SQL Database"),
    ("499b84ac-1321-427f-aa17-267ca6975798", "Azure DevOps"),
    ("7d312290-28c8-473c-a0ed-8e53749b6d6d", "Azure AI services"),
    (
        "ca7f3f0b-7d91-482c-8e09-c5d840d0eac5",
        "Azure Log Analytics",
    ),
    (
        "2746ea77-4702-4b45-80ca-3c97e680e8b7",
        "Azure Data Explorer",
    ),
    ("e9f49c6b-5ce5-44c8-925d-015017e9f7ad", "Azure Data Lake"),
    ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "Azure Databricks"),
    (
        "6dae42f8-4368-4678-94ff-3960e28e3630",
        "Azure Kubernetes Service",
    ),
    (
        "0736f41a-0425-4b46-bdb5-1563eff02385",
        "Azure Machine Learning",
    ),
    ("80a10ef9-8168-493d-abf9-3297c4ef6e3c", "Azure Service Bus"),
    ("80369ed6-5f11-4dd9-bef3-692475845e77", "Azure Event Hubs"),
    ("1ac05c7e-12d2-4605-bf9d-549d7041c6b3", "Azure Synapse"),
    (
        "4ac7d521-0382-477b-b0f8-7e1d95f85ca2",
        "Azure Analysis Services",
    ),
    (
        "c5393580-f805-4401-95e8-94b7a6ef2fc2",
        "Office 365 Management APIs",
    ),
    ("cc15fd57-2c6c-4117-a88c-83b1d56b4bbe", "Microsoft Teams"),
    ("2d4d3d8e-2be3-4bef-9f87-7875a61c29de", "OneNote"),
    ("475226c6-020e-4fb2-8a90-7a972cbfc1d4", "Power Apps"),
    ("7df0a125-d3be-4c96-aa54-591f83ff541c", "Power Automate"),
    (
        "fc780465-2017-40d4-a0c5-307022471b92",
        "Microsoft Defender for Endpoint",
    ),
];

/// Suffixes of application ids that Microsoft reserves.
const APPLICATION_SUFFIXES: [&str; 2] = [
    "-0000-0000-c000-000000000000",
    "-0000-0ff1-ce00-000000000000",
];

/// Hosts, including their subdomains.
const HOSTS: [(&str, &str); 34] = [
    ("graph.microsoft.com", "Microsoft Graph"),
    ("graph.microsoft.us", "Microsoft Graph"),
    ("graph.windows.net", "Azure AD Graph"),
    ("ags.windows.net", "Microsoft Graph"),
    ("microsoftgraph.chinacloudapi.cn", "Microsoft Graph"),
    ("management.azure.com", "Azure Resource Manager"),
    ("management.core.windows.net", "Azure Resource Manager"),
    ("vault.azure.net", "Azure Key Vault"),
    ("storage.azure.com", "Azure Storage"),
    ("database.windows.net", "Azure SQL Database"),
    ("app.vssps.visualstudio.com", "Azure DevOps"),
    ("sharepoint.com", "SharePoint Online"),
    ("sharepoint.us", "SharePoint Online"),
    ("sharepoint.cn", "SharePoint Online"),
    ("dynamics.com", "Microsoft Dataverse"),
    ("outlook.com", "Exchange Online"),
    ("onenote.com", "OneNote"),
    ("yammer.com", "Viva Engage"),
    ("skype.com", "Microsoft Teams"),
    ("skypeforbusiness.com", "Skype for Business Online"),
    ("powerapps.com", "Power Apps"),
    ("powerplatform.com", "Power Platform"),
    ("powerbi.com", "Power BI"),
    ("azuresynapse.net", "Azure Synapse"),
    ("loganalytics.io", "Azure Log Analytics"),
    ("applicationinsights.io", "Azure Monitor"),
    ("windows.net", UNNAMED),
    ("azure.net", UNNAMED),
    ("microsoft.com", UNNAMED),
    ("microsoftonline.com", UNNAMED),
    ("office.com", UNNAMED),
    ("office365.com", UNNAMED),
    ("office.net", UNNAMED),
    ("visualstudio.com", UNNAMED),
];

/// Domains of the clouds that have subdomains of customers too.
const CLOUDS: [&str; 5] = [
    "azure.com",
    "azure.us",
    "azure.cn",
    "microsoft.us",
    "windowsazure.cn",
];

/// Domains of the clouds for customers.
const CUSTOMERS: [&str; 3] = [
    "cloudapp.azure.com",
    "cloudapp.azure.us",
    "cloudapp.azure.cn",
];

/// Returns the name of a resource if it is one of Microsoft's own: by its application id, or by
/// the host of its App ID URI. `resource` is an identifier or the `aud` of a token.
pub(crate) fn microsoft_resource(resource: &str) -> Option<&'static str> {
    let lower = resource.to_ascii_lowercase();
    let name = ["https://", "http://", "api://", "spn:"]
        .iter()
        .find_map(|prefix| lower.strip_prefix(prefix))
        .unwrap_or(&lower);
    let end = name.find(['/', ':', '?', '#']).unwrap_or(name.len());
    // Entra adds the tenant to some audiences, as in `ID@TENANT`. A host may have a user name.
    let (before, after) = name[..end].split_once('@').unwrap_or((&name[..end], ""));
    application(before).or_else(|| {
        let host = if after.is_empty() { before } else { after };
        of_host(host.trim_end_matches('.'))
    })
}

fn application(id: &str) -> Option<&'static str> {
    if !is_guid(id) {
        return None;
    }
    let known = APPLICATIONS.iter().find(|(known, _)| *known == id);
    let is_kept = || APPLICATION_SUFFIXES.iter().any(|end| id.ends_with(end));
    match known {
        Some((_, name)) => Some(name),
        None => is_kept().then_some(UNNAMED),
    }
}

fn of_host(host: &str) -> Option<&'static str> {
    let is_below = |domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let known = HOSTS.iter().find(|(domain, _)| is_below(domain));
    let is_cloud = || {
        CLOUDS.iter().any(|domain| is_below(domain))
            && !CUSTOMERS.iter().any(|domain| is_below(domain))
    };
    match known {
        Some((_, name)) => Some(name),
        None => is_cloud().then_some(UNNAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::microsoft_resource;

    #[test]
    fn microsoft_resource_is_recognised_in_every_form() {
        for (resource, name) in [
            ("https://graph.microsoft.com", "Microsoft Graph"),
            ("https://graph.microsoft.com/", "Microsoft Graph"),
            ("00000003-0000-0000-C000-000000000000", "Microsoft Graph"),
            (
                "api://00000003-0000-0000-c000-000000000000",
                "Microsoft Graph",
            ),
            (
                "spn:00000003-0000-0000-c000-000000000000",
                "Microsoft Graph",
            ),
            ("https://contoso.sharepoint.com", "SharePoint Online"),
            (
                "00000003-0000-0ff1-ce00-000000000000/contoso.sharepoint.com@8c1f0a52-6d0e-4b7a-9f3c-2f5b7f1f6a10",
                "SharePoint Online",
            ),
            ("https://management.azure.com/", "Azure Resource Manager"),
            ("https://x@graph.microsoft.com", "Microsoft Graph"),
            ("https://vault.azure.net", "Azure Key Vault"),
            (
                "https://batch.core.windows.net/",
                "a resource of Microsoft's own",
            ),
            (
                "0000000c-0000-0000-c000-000000000000",
                "a resource of Microsoft's own",
            ),
        ] {
            assert_eq!(microsoft_resource(resource), Some(name), "{resource}");
        }
    }

    #[test]
    fn resource_of_organisation_is_not_microsoft() {
        for resource in [
            "api://files",
            "api://5e0c2c1a-7b64-4f1d-9c58-1d2a3b4c5d01",
            "https://files.contoso.com",
            "https://contoso.onmicrosoft.com/files",
            "https://contoso.azurewebsites.net",
            "https://contoso.azure-api.net",
            "https://vm.westeurope.cloudapp.azure.com",
            "https://notmicrosoft.com",
            "https://graph.microsoft.com.evil.example",
        ] {
            assert_eq!(microsoft_resource(resource), None, "{resource}");
        }
    }
}
