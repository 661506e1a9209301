-- At the first start of an empty server: the registry's logins, none of which is a superuser, and its database.
\set ON_ERROR_STOP on
\getenv owner_password REGISTRY_OWNER_PASSWORD
\getenv serve_password REGISTRY_SERVE_PASSWORD
\getenv stream_password REGISTRY_STREAM_PASSWORD
CREATE ROLE registry_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE ROLE registry_serve LOGIN NOINHERIT PASSWORD :'serve_password';
CREATE ROLE registry_stream LOGIN NOINHERIT PASSWORD :'stream_password';
CREATE DATABASE registry OWNER registry_owner TEMPLATE template0 ENCODING 'UTF8';
